package roles

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"sidetone/media"
)

// maxAddress bounds the part of an address that is looked at, in bytes.
const maxAddress = 1024

// Config is what an installation knows of its parties. The zero Config knows
// nothing.
type Config struct {
	// Addresses are tried in order for each leg: the first that fits its
	// address decides.
	Addresses []Address
	// Labels are the roles of streams by Leg.Label, in any case: tracks, SDP
	// labels.
	Labels map[string]media.Role
	// FirstLeg is whose the first leg of a call is, caller or called party, where
	// the source has it so. Sources differ in it, and some in every call, so set
	// it for one that was tried only.
	FirstLeg media.Party
}

// Address describes addresses of one role: 2207, +4930111222,
// sip:2207@pbx.example. All that is set must fit, and something must be set.
// Number, Host and Regexp mind no case.
type Address struct {
	// Role is whose addresses these are: agent or customer.
	Role media.Role
	// Number is a pattern for the number, or the part before the @, in which *
	// stands for any text and ? for one character: 22??, +49*.
	Number string
	// Host is a pattern of this kind for the host, which is a SIP trunk's realm
	// as a rule: *.carrier.example.
	Host string
	// Regexp is a regular expression (RE2) for the whole address without its
	// scheme and its parameters, part of which it has to fit: ^22\d\d@.
	Regexp string
	// MinDigits and MaxDigits bound the digits of a telephone number, without a
	// plus: extensions have few, E.164 numbers up to 15. Zero is no bound.
	MinDigits, MaxDigits int
}

// Rules are what a Config says, ready for use. They are immutable. The zero
// Rules know nothing.
type Rules struct {
	addresses []address
	labels    map[string]media.Role
	first     media.Party
}

type address struct {
	Address
	number, host, whole *regexp.Regexp // nil fits all
}

// New checks the configuration.
func New(cfg Config) (Rules, error) {
	r := Rules{labels: map[string]media.Role{}, first: cfg.FirstLeg}
	for i, a := range cfg.Addresses {
		c, err := compile(a)
		if err != nil {
			return Rules{}, fmt.Errorf("roles: address rule %d: %w", i+1, err)
		}
		r.addresses = append(r.addresses, c)
	}
	for label, role := range cfg.Labels {
		label = strings.ToLower(strings.TrimSpace(label))
		if label == "" || !decided(role) {
			return Rules{}, fmt.Errorf("roles: label %q with the role %v: a label must have text and be the agent's or the customer's", label, role)
		}
		if other, again := r.labels[label]; again && other != role {
			return Rules{}, fmt.Errorf("roles: label %q is both the agent's and the customer's", label)
		}
		r.labels[label] = role
	}
	return r, nil
}

func compile(a Address) (address, error) {
	c := address{Address: a}
	switch {
	case !decided(a.Role):
		return c, errors.New("its role must be agent or customer")
	case a.Number == "" && a.Host == "" && a.Regexp == "" && a.MinDigits == 0 && a.MaxDigits == 0:
		return c, errors.New("it fits every address; give a number, a host, a regexp or a count of digits")
	case a.MinDigits < 0 || a.MaxDigits < 0 || a.MaxDigits > 0 && a.MaxDigits < a.MinDigits:
		return c, fmt.Errorf("no number has at least %d and at most %d digits", a.MinDigits, a.MaxDigits)
	}
	var err error
	if c.number, err = glob(a.Number); err != nil {
		return c, fmt.Errorf("number %q: %w", a.Number, err)
	}
	if c.host, err = glob(a.Host); err != nil {
		return c, fmt.Errorf("host %q: %w", a.Host, err)
	}
	if a.Regexp != "" {
		if c.whole, err = regexp.Compile("(?i)" + a.Regexp); err != nil {
			return c, fmt.Errorf("regexp: %w", err)
		}
	}
	return c, nil
}

// glob is the regular expression of a pattern with * and ?.
func glob(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return nil, nil
	}
	p := regexp.QuoteMeta(pattern)
	p = strings.ReplaceAll(p, `\*`, `.*`)
	p = strings.ReplaceAll(p, `\?`, `.`)
	return regexp.Compile("(?is)^" + p + "$")
}

func decided(r media.Role) bool { return r == media.RoleAgent || r == media.RoleCustomer }

// String says what the rule asks for.
func (a *address) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("number", a.Number)
	add("host", a.Host)
	add("regexp", a.Regexp)
	if a.MinDigits > 0 || a.MaxDigits > 0 {
		switch {
		case a.MaxDigits == 0:
			parts = append(parts, fmt.Sprintf("%d digits or more", a.MinDigits))
		case a.MinDigits == a.MaxDigits:
			parts = append(parts, fmt.Sprintf("%d digits", a.MinDigits))
		default:
			parts = append(parts, fmt.Sprintf("%d to %d digits", a.MinDigits, a.MaxDigits))
		}
	}
	return strings.Join(parts, ", ")
}

func (a *address) fits(p party) bool {
	digits := len(p.digits)
	switch {
	case a.number != nil && (p.number == "" || !a.number.MatchString(p.number)):
		return false
	case a.host != nil && (p.host == "" || !a.host.MatchString(p.host)):
		return false
	case a.whole != nil && !a.whole.MatchString(p.whole):
		return false
	case a.MinDigits == 0 && a.MaxDigits == 0:
		return true
	}
	return digits > 0 && digits >= a.MinDigits && (a.MaxDigits == 0 || digits <= a.MaxDigits)
}

// party is an address taken apart.
type party struct {
	whole, number, host string
	// digits are those of a telephone number; empty where it is none.
	digits string
}

// parse takes an address apart: "Ines" <sip:2207@pbx.example:5060;user=phone>.
// It has no form that would be an error.
func parse(s string) party {
	if len(s) > maxAddress {
		s = s[:maxAddress]
	}
	if at := strings.LastIndexByte(s, '<'); at >= 0 {
		s, _, _ = strings.Cut(s[at+1:], ">")
	}
	s = strings.TrimSpace(s)
	for _, scheme := range []string{"sips:", "sip:", "tel:"} {
		if len(s) >= len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = s[len(scheme):]
			break
		}
	}
	if end := strings.IndexAny(s, ";?"); end >= 0 {
		s = s[:end]
	}
	p := party{whole: s, number: s}
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		p.number, p.host = s[:at], withoutPort(s[at+1:])
	}
	// +49 (30) 111-222 is a number, its separators are not part of it (RFC 3966,
	// section 5.1.1).
	digits := strings.NewReplacer("-", "", ".", "", "(", "", ")", "", " ", "").Replace(p.number)
	plain := strings.TrimPrefix(digits, "+")
	if plain != "" && strings.Trim(plain, "0123456789") == "" {
		p.number, p.digits = digits, plain
	}
	return p
}

func withoutPort(host string) string {
	if strings.HasPrefix(host, "[") {
		inner, _, _ := strings.Cut(host[1:], "]")
		return inner
	}
	host, _, _ = strings.Cut(host, ":")
	return host
}
