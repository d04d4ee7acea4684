package access

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxKeys bounds the keys that limits remembers in each of two generations.
const maxKeys = 10_000

// limits is a rate limit for each of many keys. It forgets keys that were not
// used lately, so that it stays small whoever knocks.
type limits struct {
	every rate.Limit
	burst int

	mu       sync.Mutex
	new, old map[string]*rate.Limiter
}

// newLimits allows each key so many at once and then one a period; no period
// allows everything.
func newLimits(burst int, period time.Duration) *limits {
	l := &limits{every: rate.Every(period), burst: burst, new: map[string]*rate.Limiter{}}
	return l
}

// allow takes one of the key's, if it has one left.
func (l *limits) allow(key string, now time.Time) bool {
	if l.every == rate.Inf {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.new[key]
	if one == nil {
		if one = l.old[key]; one == nil {
			one = rate.NewLimiter(l.every, l.burst)
		}
		if len(l.new) >= maxKeys {
			l.old, l.new = l.new, map[string]*rate.Limiter{}
		}
		l.new[key] = one
	}
	return one.AllowN(now, 1)
}

// forget gives a key all of its own again.
func (l *limits) forget(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.new, key)
	delete(l.old, key)
}

// client is the address that a request comes from: the last in X-Forwarded-For
// that is no proxy, as far as proxies can be believed; direct says that nobody
// stands between. The zero address is of requests that do not tell.
func client(r *http.Request, proxies []netip.Prefix) (from netip.Addr, direct bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	if from, err = netip.ParseAddr(host); err != nil {
		return netip.Addr{}, false
	}
	from = from.Unmap().WithZone("")
	forwarded := r.Header.Values("X-Forwarded-For")
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	within := func(a netip.Addr) bool {
		return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	for i := len(hops) - 1; i >= 0 && within(from); i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" {
			continue
		}
		next, err := netip.ParseAddr(hop)
		if err != nil {
			return netip.Addr{}, false
		}
		from = next.Unmap().WithZone("")
	}
	return from, len(forwarded) == 0 && r.Header.Get("Forwarded") == ""
}

// From is the address that a request comes from, as far as it can be known.
func (g *Guard) From(r *http.Request) string {
	a, _ := client(r, g.cfg.Proxies)
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// limitKey is what addresses are limited by: one of IPv6 has a network of its own.
func limitKey(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
