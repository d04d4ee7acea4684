package srtp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what is read from a session description.
const (
	maxLine = 2048
	maxKeys = 8
	// maxMKI is RFC 4568's bound of a master key identifier, section 6.1.
	maxMKI = 128
	// maxLifetime is how many packets a master key may serve at most (RFC 3711,
	// section 9.2).
	maxLifetime = 1 << 48
)

// Suite is a crypto suite of SRTP: cipher, authentication and lengths.
type Suite uint8

// The suites of RFC 4568, section 6.2, RFC 6188 and RFC 7714.
const (
	AESCM128SHA80 Suite = iota + 1
	AESCM128SHA32
	AESCM192SHA80
	AESCM192SHA32
	AESCM256SHA80
	AESCM256SHA32
	AES128GCM
	AES256GCM
)

// suite is what there is to say of one.
type suite struct {
	name      string
	key, salt int // lengths in bytes
	usable    bool
}

func (s Suite) spec() suite {
	switch s {
	case AESCM128SHA80:
		return suite{"AES_CM_128_HMAC_SHA1_80", 16, 14, true}
	case AESCM128SHA32:
		return suite{"AES_CM_128_HMAC_SHA1_32", 16, 14, true}
	case AESCM192SHA80:
		return suite{"AES_192_CM_HMAC_SHA1_80", 24, 14, false}
	case AESCM192SHA32:
		return suite{"AES_192_CM_HMAC_SHA1_32", 24, 14, false}
	case AESCM256SHA80:
		return suite{"AES_256_CM_HMAC_SHA1_80", 32, 14, true}
	case AESCM256SHA32:
		return suite{"AES_256_CM_HMAC_SHA1_32", 32, 14, true}
	case AES128GCM:
		return suite{"AEAD_AES_128_GCM", 16, 12, true}
	case AES256GCM:
		return suite{"AEAD_AES_256_GCM", 32, 12, true}
	default:
		return suite{name: "no suite"}
	}
}

// String is the suite's name in session descriptions.
func (s Suite) String() string { return s.spec().name }

// Usable says whether New can open packets of the suite. The two of AES-192
// are known by name only.
func (s Suite) Usable() bool { return s.spec().usable }

// KeyLen and SaltLen are the lengths of the master key and salt, in bytes.
func (s Suite) KeyLen() int { return s.spec().key }

// SaltLen is described at KeyLen.
func (s Suite) SaltLen() int { return s.spec().salt }

// ParseSuite is the inverse of Suite.String, in any case of letters. It also
// knows the names AES_CM_192... and AES_CM_256..., which some devices use.
func ParseSuite(name string) (s Suite, ok bool) {
	upper := strings.ToUpper(name)
	for _, bits := range []string{"192", "256"} {
		if rest, found := strings.CutPrefix(upper, "AES_CM_"+bits); found {
			upper = "AES_" + bits + "_CM" + rest
		}
	}
	for s := AESCM128SHA80; s <= AES256GCM; s++ {
		if s.String() == upper {
			return s, true
		}
	}
	return 0, false
}

// Key is one master key with its salt.
type Key struct {
	// Material is the key followed by the salt.
	Material []byte
	// Lifetime is how many packets the key may serve; zero means the suite's
	// own bound.
	Lifetime uint64
	// MKI is the identifier that packets under this key carry; nil if none.
	MKI []byte
}

// Crypto is one a=crypto attribute (RFC 4568, section 4).
type Crypto struct {
	// Tag numbers the attribute within its media description.
	Tag   int
	Suite Suite
	// Keys has one element, or several with MKIs of the same length.
	Keys []Key
	// Params are the session parameters, as they stand.
	Params []string
}

// Parse reads the value of an a=crypto attribute; the name may stand before it.
// The suite must be known, though not usable.
//
//	tag SP suite SP "inline:" key||salt ["|" lifetime] ["|" MKI ":" length] *(";" more keys) *(SP parameter)
//
// Base64 may lack its padding. The error's text holds no key.
func Parse(value string) (Crypto, error) {
	value = strings.TrimSpace(value)
	value = strings.TrimPrefix(value, "a=")
	value = strings.TrimPrefix(value, "crypto:")
	if len(value) > maxLine {
		return Crypto{}, fmt.Errorf("srtp: a crypto line of %d bytes; at most %d are read", len(value), maxLine)
	}
	fields := strings.Fields(value)
	if len(fields) < 3 {
		return Crypto{}, fmt.Errorf("srtp: a crypto line of %d fields, expected a tag, a suite and a key", len(fields))
	}
	tag, err := strconv.ParseUint(fields[0], 10, 31)
	if err != nil || len(fields[0]) > 9 {
		return Crypto{}, errors.New("srtp: the crypto line's tag is not a number of 1 to 9 digits")
	}
	c := Crypto{Tag: int(tag)}
	var ok bool
	if c.Suite, ok = ParseSuite(fields[1]); !ok {
		return c, fmt.Errorf("srtp: crypto tag %d: suite %.40q is not known", c.Tag, fields[1])
	}
	if len(fields) > 3 {
		c.Params = fields[3:]
	}
	all := strings.Split(fields[2], ";")
	if len(all) > maxKeys {
		return c, fmt.Errorf("srtp: crypto tag %d: %d keys, at most %d are read", c.Tag, len(all), maxKeys)
	}
	for _, one := range all {
		k, err := parseKey(one, c.Suite)
		if err != nil {
			return c, fmt.Errorf("srtp: crypto tag %d: %w", c.Tag, err)
		}
		c.Keys = append(c.Keys, k)
	}
	return c, c.checkKeys()
}

// checkKeys holds several keys to what tells them apart.
func (c Crypto) checkKeys() error {
	for i, k := range c.Keys {
		for _, other := range c.Keys[:i] {
			if len(k.MKI) == 0 || len(k.MKI) != len(other.MKI) || bytes.Equal(k.MKI, other.MKI) {
				return fmt.Errorf("srtp: crypto tag %d: several keys need different MKIs of the same length", c.Tag)
			}
		}
	}
	return nil
}

func parseKey(s string, suite Suite) (Key, error) {
	method, rest, ok := strings.Cut(s, ":")
	if !ok || !strings.EqualFold(method, "inline") {
		return Key{}, errors.New("the key does not begin with inline:, the only method there is")
	}
	parts := strings.Split(rest, "|")
	if len(parts) > 3 {
		return Key{}, fmt.Errorf("the key has %d parts, expected at most key, lifetime and MKI", len(parts))
	}
	material, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[0], "="))
	if err != nil {
		return Key{}, errors.New("the key is not base64")
	}
	if want := suite.KeyLen() + suite.SaltLen(); len(material) != want {
		return Key{}, fmt.Errorf("key and salt are %d bytes, %v needs %d", len(material), suite, want)
	}
	k := Key{Material: material}
	for i, p := range parts[1:] {
		if strings.Contains(p, ":") {
			if i != len(parts)-2 {
				return Key{}, errors.New("something follows the key's MKI")
			}
			if k.MKI, err = parseMKI(p); err != nil {
				return Key{}, err
			}
		} else if k.Lifetime, err = parseLifetime(p); err != nil || i > 0 {
			return Key{}, fmt.Errorf("the key's lifetime %.20q is not a number of packets up to 2^48", p)
		}
	}
	return k, nil
}

func parseLifetime(s string) (uint64, error) {
	if exp, ok := strings.CutPrefix(s, "2^"); ok {
		n, err := strconv.ParseUint(exp, 10, 6)
		if err != nil || n > 48 {
			return 0, errors.New("out of range")
		}
		return 1 << n, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || n == 0 || n > maxLifetime {
		return 0, errors.New("out of range")
	}
	return n, nil
}

// parseMKI reads value ":" length, the value in decimal and the length in bytes.
func parseMKI(s string) ([]byte, error) {
	value, length, _ := strings.Cut(s, ":")
	n, err := strconv.ParseUint(length, 10, 8)
	if err != nil || n < 1 || n > maxMKI {
		return nil, fmt.Errorf("the MKI's length %.20q is not a number from 1 to %d", length, maxMKI)
	}
	v, err := strconv.ParseUint(value, 10, 64)
	if err != nil || n < 8 && v>>(8*n) != 0 {
		return nil, fmt.Errorf("the MKI %.24q is not a number of %d bytes", value, n)
	}
	mki := make([]byte, n)
	for i := len(mki) - 1; i >= 0; i-- {
		mki[i] = byte(v)
		v >>= 8
	}
	return mki, nil
}

// Value is the attribute's value, as it stands after "a=crypto:". It holds the
// key: it must not be logged.
func (c Crypto) Value() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %v ", c.Tag, c.Suite)
	for i, k := range c.Keys {
		if i > 0 {
			b.WriteByte(';')
		}
		b.WriteString("inline:" + base64.StdEncoding.EncodeToString(k.Material))
		if k.Lifetime > 0 {
			b.WriteString("|" + lifetime(k.Lifetime))
		}
		if len(k.MKI) > 0 {
			var v uint64
			for _, x := range k.MKI {
				v = v<<8 | uint64(x)
			}
			fmt.Fprintf(&b, "|%d:%d", v, len(k.MKI))
		}
	}
	for _, p := range c.Params {
		b.WriteString(" " + p)
	}
	return b.String()
}

func lifetime(n uint64) string {
	for exp := range 49 {
		if n == 1<<exp {
			return "2^" + strconv.Itoa(exp)
		}
	}
	return strconv.FormatUint(n, 10)
}

// String says which line it is, without the keys.
func (c Crypto) String() string { return fmt.Sprintf("%d %v", c.Tag, c.Suite) }

// GoString is String: no way of printing shows the keys.
func (c Crypto) GoString() string { return c.String() }

// usable says why New could not work with the line.
func (c Crypto) usable() error {
	switch {
	case !c.Suite.Usable():
		return fmt.Errorf("suite %v is not supported", c.Suite)
	case len(c.Keys) == 0:
		return errors.New("there is no key")
	}
	for _, p := range c.Params {
		// RFC 4568, section 6.3.7: a parameter that begins with - may be passed
		// over by who does not know it. The window's size is the receiver's
		// business.
		if !strings.HasPrefix(p, "-") && !strings.HasPrefix(strings.ToUpper(p), "WSH=") && strings.ToUpper(p) != "KDR=0" {
			return fmt.Errorf("session parameter %.40q is not supported", p)
		}
	}
	return nil
}

// ErrNoneUsable is wrapped by Choose's error when the offer has crypto lines
// and none of them can be used.
var ErrNoneUsable = errors.New("no usable a=crypto line")

// Choose returns the first line of an offer that can be used: the offerer lists
// them in the order of its preference (RFC 4568, section 5.1.1). Lines that
// cannot be read are passed over.
func Choose(values []string) (Crypto, error) {
	var why []error
	for _, v := range values {
		c, err := Parse(v)
		if err == nil {
			if err = c.usable(); err == nil {
				return c, nil
			}
			err = fmt.Errorf("srtp: crypto tag %d: %w", c.Tag, err)
		}
		why = append(why, err)
	}
	if len(why) == 0 {
		return Crypto{}, fmt.Errorf("srtp: %w: the media description has none", ErrNoneUsable)
	}
	return Crypto{}, fmt.Errorf("srtp: %w: %w", ErrNoneUsable, errors.Join(why...))
}

// Answer makes the line that accepts an offered one: of the same tag and suite,
// with a key of our own from random, such as crypto/rand.Reader.
func Answer(offer Crypto, random io.Reader) (Crypto, error) {
	if err := offer.usable(); err != nil {
		return Crypto{}, fmt.Errorf("srtp: crypto tag %d cannot be answered: %w", offer.Tag, err)
	}
	material := make([]byte, offer.Suite.KeyLen()+offer.Suite.SaltLen())
	if _, err := io.ReadFull(random, material); err != nil {
		return Crypto{}, fmt.Errorf("srtp: making a key: %w", err)
	}
	return Crypto{Tag: offer.Tag, Suite: offer.Suite, Keys: []Key{{Material: material}}}, nil
}
