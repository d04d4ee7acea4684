package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sidetone/media/fork"
)

// Login is a name and a password of HTTP Basic authentication (RFC 7617).
type Login struct{ Name, Password string }

// GuardConfig says who may connect. Where Tokens, Logins or Secrets has
// something, a request must show one of them; where Allow has something, it
// must come from there besides. A zero GuardConfig lets everybody in.
type GuardConfig struct {
	// Tokens are bearer tokens (RFC 6750): Authorization: Bearer TOKEN.
	Tokens []string
	Logins []Login
	// Secrets are values of the query parameter Parameter, "token", for sources
	// that can set no header. Proxies in between should not log them.
	Secrets   []string
	Parameter string
	// Allow are the addresses that may connect.
	Allow []netip.Prefix
	// Proxies are the addresses of proxies whose X-Forwarded-For is believed.
	Proxies []netip.Prefix
}

// Guard checks requests, see GuardConfig. It is immutable and safe for
// concurrent use.
type Guard struct {
	cfg GuardConfig
	// The hashes of what is accepted have one length, so that the comparison
	// does not tell how long a secret is.
	tokens, logins, secrets [][sha256.Size]byte
}

// NewGuard checks the configuration.
func NewGuard(cfg GuardConfig) (*Guard, error) {
	g := &Guard{cfg: cfg}
	if g.cfg.Parameter == "" {
		g.cfg.Parameter = "token"
	}
	if slices.Contains(cfg.Tokens, "") || slices.Contains(cfg.Secrets, "") {
		return nil, errors.New("server: an empty token or secret would let everybody in")
	}
	for _, t := range cfg.Tokens {
		g.tokens = append(g.tokens, sha256.Sum256([]byte(t)))
	}
	for _, t := range cfg.Secrets {
		g.secrets = append(g.secrets, sha256.Sum256([]byte(t)))
	}
	for _, l := range cfg.Logins {
		if l.Name == "" || l.Password == "" || strings.Contains(l.Name, ":") {
			return nil, fmt.Errorf("server: login %q: a login needs a name without a colon and a password", l.Name)
		}
		g.logins = append(g.logins, sha256.Sum256([]byte(l.Name+":"+l.Password)))
	}
	for _, p := range slices.Concat(cfg.Allow, cfg.Proxies) {
		if !p.IsValid() {
			return nil, errors.New("server: an address range is not valid; want one such as 10.0.0.0/8")
		}
	}
	return g, nil
}

// Check returns nil or the *fork.Refusal with which the request is answered:
// 401 or 403. It fits Config.Authorize.
func (g *Guard) Check(r *http.Request) error {
	if from, ok := g.peer(r); len(g.cfg.Allow) > 0 && (!ok || !within(g.cfg.Allow, from)) {
		return &fork.Refusal{Status: http.StatusForbidden, Reason: "this address may not connect; add it to the allowed ones"}
	}
	if len(g.tokens)+len(g.logins)+len(g.secrets) == 0 {
		return nil
	}
	// All of them are looked at, so that time does not tell which was near.
	ok := 0
	if t, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is {
		ok |= known(g.tokens, t)
	}
	if name, password, is := r.BasicAuth(); is {
		ok |= known(g.logins, name+":"+password)
	}
	if len(g.secrets) > 0 {
		ok |= known(g.secrets, r.URL.Query().Get(g.cfg.Parameter))
	}
	if ok == 1 {
		return nil
	}
	no := &fork.Refusal{Status: http.StatusUnauthorized, Reason: "the secret is missing or wrong", Header: map[string]string{"WWW-Authenticate": "Bearer"}}
	if len(g.logins) > 0 {
		no.Header["WWW-Authenticate"] = `Basic realm="sidetone"`
	}
	return no
}

// known is 1 where the text is one of those that were hashed.
func known(hashes [][sha256.Size]byte, text string) int {
	h := sha256.Sum256([]byte(text))
	ok := 0
	for i := range hashes {
		ok |= subtle.ConstantTimeCompare(hashes[i][:], h[:])
	}
	return ok
}

// peer is the address that the request comes from: the last in
// X-Forwarded-For that is no proxy, as far as proxies can be believed.
func (g *Guard) peer(r *http.Request) (netip.Addr, bool) {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	from := at.Addr().Unmap()
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && within(g.cfg.Proxies, from); i-- {
		hop := strings.TrimSpace(hops[i])
		if hop == "" {
			continue
		}
		next, err := netip.ParseAddr(hop)
		if err != nil {
			return netip.Addr{}, false
		}
		from = next.Unmap()
	}
	return from, true
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}
