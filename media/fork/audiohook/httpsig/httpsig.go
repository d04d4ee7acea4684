// Package httpsig checks the API key and the signature of the HTTP requests
// with which AudioHook connects: HTTP message signatures in the form of
// draft-ietf-httpbis-message-signatures-11, with HMAC-SHA256.
//
// It remembers the nonces of what was signed as long as a signature lives, so
// that nothing is let in twice.
package httpsig

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of signatures. The vendor's reference asks for the same, except that
// it takes the tolerance away from a signature's life instead of adding it.
const (
	// maxAge is how old a signature may be, maxSkew how far clocks may be apart.
	maxAge  = 10 * time.Second
	maxSkew = 3 * time.Second
	// minNonce and maxNonce bound a nonce, in bytes.
	minNonce = 22
	maxNonce = 256
	// replayWindow is how long a nonce is remembered: longer than a signature
	// lives. maxNonces of them are, which is some 500 connections a second.
	replayWindow = 30 * time.Second
	maxNonces    = 16384
)

// required are the components that a signature must cover.
//
//nolint:misspell // the protocol is American
func required() []string {
	return []string{
		"@request-target", "@authority",
		"audiohook-organization-id", "audiohook-session-id", "audiohook-correlation-id", "x-api-key",
	}
}

// Request is what the HTTP request said that asked for the connection.
type Request struct {
	// Method is GET. Target is the path with the query, as it was received. Host
	// is the header field of that name.
	Method, Target, Host string
	// Header has the fields under their canonical names, as net/http has them.
	Header map[string][]string
}

// Field is the value of a header field as signatures see it (section 2.1 of the
// draft): without space around it, repeated fields joined by commas. ok is false
// where there is none.
func (r *Request) Field(name string) (value string, ok bool) {
	values := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
	trimmed := make([]string, len(values))
	for i, v := range values {
		trimmed[i] = strings.Trim(v, " \t")
	}
	joined := strings.Join(trimmed, ", ")
	return joined, joined != ""
}

// Config says who may connect.
type Config struct {
	// Keys are the API keys with their client secrets in base64, as they stand in
	// the integration's credentials. A key with an empty secret is enough by
	// itself: its requests need not be signed.
	Keys map[string]string
	// Authority is the host under which the source knows us, with the port if it
	// is not 443, for proxies that change the Host field. Empty takes that field.
	Authority string
}

// Verifier checks requests. It is safe for concurrent use.
type Verifier struct {
	authority string
	// secrets are found by the key's hash, so that the time of a search tells
	// nothing about keys. decoy stands in for the secret of an unknown key.
	secrets map[[sha256.Size]byte][]byte
	decoy   []byte

	mu     sync.Mutex
	nonces map[string]struct{}
	order  []seen // the same, by age
}

type seen struct {
	nonce string
	until time.Time
}

// New checks the configuration.
func New(cfg Config) (*Verifier, error) {
	charset := regexp.MustCompile(`^[A-Za-z0-9+/_-]+={0,2}$`)
	if len(cfg.Keys) == 0 {
		return nil, errors.New("httpsig: no API keys: nobody could connect")
	}
	v := &Verifier{
		authority: normalAuthority(cfg.Authority),
		secrets:   map[[sha256.Size]byte][]byte{}, decoy: []byte(rand.Text()),
		nonces: map[string]struct{}{},
	}
	for key, secret := range cfg.Keys {
		if !charset.MatchString(key) {
			return nil, errors.New("httpsig: an API key has other characters than letters, digits and + / _ -, and = at its end")
		}
		b, err := base64.StdEncoding.DecodeString(secret)
		if err != nil {
			return nil, errors.New("httpsig: the client secret of an API key is not base64; copy it from the integration's credentials")
		}
		v.secrets[sha256.Sum256([]byte(key))] = b
	}
	return v, nil
}

// Check says why a request is not to be let in, or nil. The text may go to the
// other side: it names no secret, and an unknown key and a wrong signature read
// the same. Answer failures after a fixed time.
func (v *Verifier) Check(r Request, now time.Time) error {
	if err := v.check(&r, now); err != nil {
		return fmt.Errorf("httpsig: %w", err)
	}
	return nil
}

func (v *Verifier) check(r *Request, now time.Time) error {
	key, ok := r.Field("x-api-key")
	if !ok {
		return errors.New("the request has no X-API-KEY")
	}
	secret, known := v.secrets[sha256.Sum256([]byte(key))]
	input, haveInput := r.Field("signature-input")
	values, haveSignature := r.Field("signature")
	switch {
	case !haveInput && !haveSignature:
		if known && len(secret) == 0 {
			return nil
		}
		return errors.New("the request is not signed, and its API key is not one that is enough by itself")
	case !haveInput:
		return errors.New("the request has a Signature and no Signature-Input")
	case !haveSignature:
		return errors.New("the request has a Signature-Input and no Signature")
	}
	sig, err := parseSignature(input, values)
	if err != nil {
		return err
	}
	if err = sig.fresh(now); err != nil {
		return err
	}
	if sig.keyID != key {
		return errors.New("X-API-KEY and the signature's keyid differ")
	}
	base, err := v.base(r, sig)
	if err != nil {
		return err
	}
	trusted := known && len(secret) > 0
	if !trusted {
		secret = v.decoy
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(base)
	if !hmac.Equal(mac.Sum(nil), sig.value) || !trusted {
		return errors.New("the signature is wrong: check the API key and the client secret, and that proxies leave host, path and query as they are")
	}
	return v.once(key+" "+sig.nonce, now)
}

// once lets a nonce pass the first time.
func (v *Verifier) once(nonce string, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := 0
	for old < len(v.order) && now.After(v.order[old].until) {
		delete(v.nonces, v.order[old].nonce)
		old++
	}
	v.order = slices.Delete(v.order, 0, old)
	if _, again := v.nonces[nonce]; again {
		return errors.New("the request was made before: its nonce is not new")
	}
	if len(v.order) >= maxNonces {
		return fmt.Errorf("more than %d connections within %v: try again later", maxNonces, replayWindow)
	}
	v.nonces[nonce] = struct{}{}
	v.order = append(v.order, seen{nonce, now.Add(replayWindow)})
	return nil
}

// signature is what Signature-Input and Signature say.
type signature struct {
	components       []string
	params           []param
	keyID, nonce     string
	created, expires time.Time // expires is zero without one
	value            []byte
}

// parseSignature reads the two fields. Of several signatures the first counts:
// proxies add theirs behind it.
func parseSignature(input, values string) (*signature, error) {
	inputs, err := parseDictionary(input)
	if err != nil {
		return nil, fmt.Errorf("Signature-Input cannot be read: %w", err)
	}
	signatures, err := parseDictionary(values)
	if err != nil {
		return nil, fmt.Errorf("Signature cannot be read: %w", err)
	}
	if len(inputs) != len(signatures) {
		return nil, fmt.Errorf("Signature-Input has %d labels and Signature has %d", len(inputs), len(signatures))
	}
	in := inputs[0]
	at := slices.IndexFunc(signatures, func(m member) bool { return m.key == in.key })
	switch {
	case at < 0:
		return nil, fmt.Errorf("Signature has no label %.40q", in.key)
	case !in.isList:
		return nil, fmt.Errorf("Signature-Input %.40q is no list", in.key)
	case signatures[at].isList || signatures[at].value.kind != kindBytes:
		return nil, fmt.Errorf("Signature %.40q is no byte sequence", in.key)
	}
	s := &signature{params: in.params, value: []byte(signatures[at].value.text)}
	if err = s.setComponents(in.list); err != nil {
		return nil, err
	}
	return s, s.setParams()
}

func (s *signature) setComponents(list []element) error {
	for _, e := range list {
		name := e.value.text
		switch {
		case e.value.kind != kindString:
			return errors.New("a component in Signature-Input is no string")
		case len(e.params) > 0:
			return fmt.Errorf("the component %.40q has parameters, which is not supported", name)
		case name == "@signature-params" || name == "signature":
			return fmt.Errorf("a signature cannot cover %q", name)
		case slices.Contains(s.components, name):
			return fmt.Errorf("the component %.40q comes twice", name)
		}
		s.components = append(s.components, name)
	}
	for _, name := range required() {
		if !slices.Contains(s.components, name) {
			return fmt.Errorf("the signature does not cover %q", name)
		}
	}
	return nil
}

func (s *signature) setParams() error {
	for _, p := range s.params {
		want := kindString
		if p.key == "created" || p.key == "expires" {
			want = kindInteger
		}
		if p.value.kind != want || p.value.number < 0 {
			return fmt.Errorf("the signature's %.40q has a value of the wrong kind", p.key)
		}
		switch p.key {
		case "created":
			s.created = time.Unix(p.value.number, 0)
		case "expires":
			s.expires = time.Unix(p.value.number, 0)
		case "keyid":
			s.keyID = p.value.text
		case "nonce":
			s.nonce = p.value.text
		case "alg":
			if p.value.text != "hmac-sha256" {
				return fmt.Errorf("the signature's algorithm is %.40q, only hmac-sha256 is supported", p.value.text)
			}
		default:
			return fmt.Errorf("the signature has an unknown parameter %.40q", p.key)
		}
	}
	return nil
}

// fresh checks the nonce's length and the times.
func (s *signature) fresh(now time.Time) error {
	switch {
	case len(s.nonce) < minNonce || len(s.nonce) > maxNonce:
		return fmt.Errorf("the signature's nonce has %d bytes, it must have %d to %d", len(s.nonce), minNonce, maxNonce)
	case s.created.IsZero():
		return errors.New("the signature does not say when it was created")
	case s.created.After(now.Add(maxSkew)):
		return fmt.Errorf("the signature was created %v from now: check the clocks", s.created.Sub(now).Round(time.Second))
	case now.After(s.created.Add(maxAge + maxSkew)):
		return fmt.Errorf("the signature was created %v ago, %v is the limit", now.Sub(s.created).Round(time.Second), maxAge)
	case !s.expires.IsZero() && now.After(s.expires.Add(maxSkew)):
		return fmt.Errorf("the signature expired %v ago", now.Sub(s.expires).Round(time.Second))
	}
	return nil
}

// base is the text that is signed:
//
//	"@request-target": /ingest/audiohook
//	"@authority": ears.example.test
//	"x-api-key": demo-key-1
//	"@signature-params": ("@request-target" "@authority" "x-api-key");keyid="demo-key-1"
func (v *Verifier) base(r *Request, s *signature) ([]byte, error) {
	var b []byte
	for _, name := range s.components {
		value, err := v.component(r, name)
		if err != nil {
			return nil, err
		}
		b = appendString(b, name)
		b = append(b, ": "...)
		b = append(b, value...)
		b = append(b, '\n')
	}
	b = append(b, `"@signature-params": (`...)
	for i, name := range s.components {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendString(b, name)
	}
	b = append(b, ')')
	for _, p := range s.params {
		b = append(b, ';')
		b = append(b, p.key...)
		b = append(b, '=')
		if p.value.kind == kindInteger {
			b = fmt.Appendf(b, "%d", p.value.number)
		} else {
			b = appendString(b, p.value.text)
		}
	}
	return b, nil
}

// component is the value of one covered component.
func (v *Verifier) component(r *Request, name string) (string, error) {
	path, query, _ := strings.Cut(r.Target, "?")
	switch name {
	case "@method":
		return r.Method, nil
	case "@request-target":
		return r.Target, nil
	case "@path":
		return path, nil
	case "@query":
		return "?" + query, nil
	case "host":
		return r.Host, nil
	case "@authority":
		if v.authority != "" {
			return v.authority, nil
		}
		return normalAuthority(r.Host), nil
	}
	if strings.HasPrefix(name, "@") {
		return "", fmt.Errorf("the signature covers %.40q, which is not supported", name)
	}
	value, ok := r.Field(name)
	if !ok {
		return "", fmt.Errorf("the signature covers the field %.40q, which the request has not", name)
	}
	if strings.ContainsAny(value, "\r\n") {
		return "", fmt.Errorf("the field %.40q has a line break", name)
	}
	return value, nil
}

// normalAuthority is a host as it is signed: in small letters, without the
// default port of wss.
func normalAuthority(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ":443")
}
