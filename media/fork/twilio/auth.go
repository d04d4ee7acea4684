package twilio

import (
	"crypto/hmac"
	"crypto/sha1" // #nosec G505 -- the platform's choice; HMAC-SHA1 is not broken
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// SignatureHeader is the field of the WebSocket handshake that Signed checks.
const SignatureHeader = "X-Twilio-Signature"

// Signature is what Twilio sends in SignatureHeader when it opens url, the
// address exactly as the stream was configured with it: base64 of the HMAC-SHA1
// of the address, keyed with the account's auth token. See
// twilio.com/docs/usage/security.
func Signature(authToken, url string) string {
	mac := hmac.New(sha1.New, []byte(authToken))
	mac.Write([]byte(url))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// Signed says whether signature is the one of url, the public address of the
// endpoint. It must come from configuration, not from the request's Host, which
// proxies rewrite and anyone may choose. Platforms differ in whether they sign
// wss or https and the slash at the end, so both are good.
func Signed(signature, authToken, url string) bool {
	scheme, rest, ok := strings.Cut(url, "://")
	if signature == "" || authToken == "" || !ok {
		return false
	}
	rest = strings.TrimSuffix(rest, "/")
	other := map[string]string{"wss": "https", "https": "wss", "ws": "http", "http": "ws"}[scheme]
	good := false
	for _, s := range []string{scheme, other} {
		for _, slash := range []string{"", "/"} {
			if s != "" && hmac.Equal([]byte(signature), []byte(Signature(authToken, s+"://"+rest+slash))) {
				good = true
			}
		}
	}
	return good
}

const (
	// minKey is the least length of a key of tokens, in bytes.
	minKey = 16
	// maxLife bounds how far in the future a token may end, and with it for how
	// long used ones are remembered.
	maxLife = 24 * time.Hour
)

// Errors of Tokens.Redeem. They are told to the other side.
var (
	ErrNoToken    = errors.New(`no token: give the stream a parameter "token"`)
	ErrBadToken   = errors.New("the token is not one for this call")
	ErrExpired    = errors.New("the token has expired")
	ErrTokenSpent = errors.New("the token was used before")
)

// Tokens binds streams to calls. A stream's socket can be opened by anyone who
// knows its address; only who answers the platform's webhook, where a call's id
// is known, can put a token for it among the stream's parameters.
//
// A token is EXPIRY.NONCE.MAC: seconds since 1970, anything without a dot of up
// to 64 bytes, and in hex the HMAC-SHA256 of "CALL.EXPIRY.NONCE", keyed with the
// key that both sides have. It is good once.
//
// Tokens is safe for concurrent use.
type Tokens struct {
	key []byte

	mu    sync.Mutex
	spent map[string]time.Time // until when; only signed ones come in
	swept time.Time
}

// NewTokens takes the key of at least 16 bytes.
func NewTokens(key string) (*Tokens, error) {
	if len(key) < minKey {
		return nil, fmt.Errorf("twilio: a key of %d bytes for tokens: it must have %d or more", len(key), minKey)
	}
	return &Tokens{key: []byte(key), spent: map[string]time.Time{}}, nil
}

// Mint makes a token for a call, as the answerer of the webhook does.
func (t *Tokens) Mint(call, nonce string, expires time.Time) string {
	head := strconv.FormatInt(expires.Unix(), 10) + "." + nonce
	return head + "." + t.mac(call, head)
}

func (t *Tokens) mac(call, head string) string {
	mac := hmac.New(sha256.New, t.key)
	mac.Write([]byte(call + "." + head))
	return hex.EncodeToString(mac.Sum(nil))
}

// Redeem uses up a token. It has the shape of Config.Admit.
func (t *Tokens) Redeem(call, token string, now time.Time) error {
	if token == "" {
		return ErrNoToken
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(parts[1]) > 64 {
		return ErrBadToken
	}
	seconds, ok := digits([]byte(parts[0]))
	if !ok || !hmac.Equal([]byte(parts[2]), []byte(t.mac(call, parts[0]+"."+parts[1]))) {
		return ErrBadToken
	}
	expires := time.Unix(seconds, 0)
	switch {
	case !now.Before(expires):
		return ErrExpired
	case expires.Sub(now) > maxLife:
		return fmt.Errorf("%w: it may be good for %v at most", ErrBadToken, maxLife)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.swept) >= time.Minute {
		t.swept = now
		for k, until := range t.spent {
			if !now.Before(until) {
				delete(t.spent, k)
			}
		}
	}
	if _, used := t.spent[token]; used {
		return ErrTokenSpent
	}
	t.spent[token] = expires
	return nil
}
