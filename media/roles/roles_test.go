package roles

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidetone/media"
)

const (
	agent    = media.RoleAgent
	customer = media.RoleCustomer
	nobody   = media.RoleUnknown
)

func rules(t testing.TB, cfg Config) Rules {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecide(t *testing.T) {
	extensions := Config{Addresses: []Address{
		{Role: agent, Number: "22??"},
		{Role: customer, Host: "*.carrier.example"},
		{Role: customer, MinDigits: 8, MaxDigits: 15},
	}}
	labels := Config{Labels: map[string]media.Role{"Inbound": customer, "1": agent}}
	first := Config{FirstLeg: media.Caller}
	type leg = media.Leg
	cases := []struct {
		name  string
		cfg   Config
		call  media.Call
		legs  []leg
		roles []media.Role
		ranks []Rank
		// reasons and conflicts are parts of the texts; an empty conflict is none.
		reasons, conflicts []string
	}{
		{
			"addresses", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "sip:2207@pbx.example"}, {ID: "b", Identity: "tel:+4930111222"}},
			[]media.Role{agent, customer}, []Rank{Number, Number},
			[]string{`"2207@pbx.example" fits rule 1: number 22??`, "rule 3: 8 to 15 digits"}, []string{"", ""},
		},
		{
			"the trunk's realm, and the other by elimination", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "<sip:anonymous@sbc.carrier.example;user=phone>"}, {ID: "b"}},
			[]media.Role{customer, agent}, []Rank{Number, Elimination},
			[]string{"rule 2: host *.carrier.example", "the other leg is the customer's"}, []string{"", ""},
		},
		{
			"labels in any case", labels, media.Call{},
			[]leg{{ID: "a", Label: " INBOUND "}, {ID: "b", Label: "1"}},
			[]media.Role{customer, agent}, []Rank{Label, Label},
			[]string{"is configured as the customer's", `label "1"`}, []string{"", ""},
		},
		{
			"told by the protocol", Config{}, media.Call{},
			[]leg{{ID: "a", Role: customer, RoleReason: "AudioHook: the channel is external"}, {ID: "b", Role: agent}},
			[]media.Role{customer, agent}, []Rank{Told, Told},
			[]string{"AudioHook: the channel is external", "the source says so"}, []string{"", ""},
		},
		{
			"inbound: the caller is the customer", Config{}, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a", Party: media.Caller}, {ID: "b", Party: media.Called}},
			[]media.Role{customer, agent}, []Rank{Direction, Direction},
			[]string{"caller of an inbound call", "called of an inbound call"}, []string{"", ""},
		},
		{
			"outbound: the caller is the agent", Config{}, media.Call{Direction: media.Outbound},
			[]leg{{ID: "a", Party: media.Caller}, {ID: "b"}},
			[]media.Role{agent, customer}, []Rank{Direction, Elimination},
			[]string{"caller of an outbound call", "the other leg is the agent's"}, []string{"", ""},
		},
		{
			"a caller without a direction says nothing", Config{}, media.Call{},
			[]leg{{ID: "a", Party: media.Caller}, {ID: "b", Party: media.Called}},
			[]media.Role{nobody, nobody}, []Rank{None, None},
			[]string{"nothing tells", "nothing tells"}, []string{"", ""},
		},
		{
			"a direction without a caller says nothing", Config{}, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a"}, {ID: "b"}},
			[]media.Role{nobody, nobody}, []Rank{None, None},
			[]string{"nothing tells", "nothing tells"}, []string{"", ""},
		},
		{
			"order, where it is configured", first, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a"}, {ID: "b"}},
			[]media.Role{customer, agent}, []Rank{Order, Order},
			[]string{"first leg, so the caller of an inbound call", "second leg, so the called"}, []string{"", ""},
		},
		{
			"order with the called party first", Config{FirstLeg: media.Called}, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a"}, {ID: "b"}},
			[]media.Role{agent, customer}, []Rank{Order, Order},
			[]string{"first leg, so the called", "second leg, so the caller"}, []string{"", ""},
		},
		{
			// rtpengine gives the caller of a forked call the second label.
			"order is overruled and reported", first, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a", Role: agent}, {ID: "b"}},
			[]media.Role{agent, customer}, []Rank{Told, Elimination},
			[]string{"the source says so", "the other leg is the agent's"},
			[]string{"customer by order: first leg", "agent by order: second leg"},
		},
		{
			"order says nothing of a third leg", first, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a"}, {ID: "b"}, {ID: "c"}},
			[]media.Role{nobody, nobody, nobody}, []Rank{None, None, None},
			[]string{"nothing tells", "nothing tells", "nothing tells"}, []string{"", "", ""},
		},
		{
			"the address before all others", Config{
				Addresses: extensions.Addresses, Labels: map[string]media.Role{"x": customer}, FirstLeg: media.Caller,
			}, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a", Identity: "2207", Label: "x", Role: customer, RoleReason: "metadata", Party: media.Caller}, {ID: "b"}},
			[]media.Role{agent, customer}, []Rank{Number, Elimination},
			[]string{"rule 1", "the other leg is the agent's"},
			[]string{"customer by label|customer by told: metadata|customer by direction|customer by order", "agent by order"},
		},
		{
			"label before told before direction", labels, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a", Label: "1", Role: customer, Party: media.Caller}, {ID: "b", Role: customer, Party: media.Called}},
			[]media.Role{agent, customer}, []Rank{Label, Told},
			[]string{"configured", "the source says so"},
			[]string{"customer by told|customer by direction", "agent by direction"},
		},
		{
			"the first rule that fits", Config{Addresses: []Address{{Role: customer, Number: "2299"}, {Role: agent, Number: "22*"}}}, media.Call{},
			[]leg{{ID: "a", Identity: "2299"}, {ID: "b", Identity: "2298"}},
			[]media.Role{customer, agent}, []Rank{Number, Number},
			[]string{"rule 1", "rule 2"}, []string{"", ""},
		},
		{
			"a call between agents", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "2207"}, {ID: "b", Identity: "2208"}},
			[]media.Role{agent, agent}, []Rank{Number, Number},
			[]string{"rule 1", "rule 1"}, []string{`leg "b" is the agent's as well`, `leg "a" is the agent's as well`},
		},
		{
			"transfer: the third is what the others are not", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "2207"}, {ID: "b"}, {ID: "c", Identity: "2208"}},
			[]media.Role{agent, customer, agent}, []Rank{Number, Elimination, Number},
			[]string{"rule 1", "all 2 other legs are of the role agent", "rule 1"}, []string{"", "", ""},
		},
		{
			"a third between both says nothing", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "2207"}, {ID: "b", Identity: "+4930111222"}, {ID: "c"}},
			[]media.Role{agent, customer, nobody}, []Rank{Number, Number, None},
			[]string{"rule 1", "rule 3", "nothing tells"}, []string{"", "", ""},
		},
		{
			"two unknown ones", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "2207"}, {ID: "b"}, {ID: "c"}},
			[]media.Role{agent, nobody, nobody}, []Rank{Number, None, None},
			[]string{"rule 1", "nothing tells", "nothing tells"}, []string{"", "", ""},
		},
		{
			"mixed", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "2207", Role: agent, Mixed: true}, {ID: "b"}},
			[]media.Role{nobody, nobody}, []Rank{None, None},
			[]string{"more than one party", "nothing tells"}, []string{"", ""},
		},
		{
			"a mixed leg is not what the other is not", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "2207"}, {ID: "b", Mixed: true}},
			[]media.Role{agent, nobody}, []Rank{Number, None},
			[]string{"rule 1", "more than one party"}, []string{"", ""},
		},
		{
			"one leg", extensions, media.Call{},
			[]leg{{ID: "a", Identity: "+4930111222"}},
			[]media.Role{customer}, []Rank{Number}, []string{"rule 3"}, []string{""},
		},
		{
			"one unknown leg", first, media.Call{Direction: media.Inbound},
			[]leg{{ID: "a"}}, []media.Role{nobody}, []Rank{None}, []string{"nothing tells"}, []string{""},
		},
		{"no legs", extensions, media.Call{}, nil, nil, nil, nil, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := Decide(rules(t, c.cfg), c.call, c.legs)
			if len(got) != len(c.legs) {
				t.Fatalf("%d decisions for %d legs", len(got), len(c.legs))
			}
			for i, d := range got {
				if d.LegID != c.legs[i].ID || d.Role != c.roles[i] || d.Rank != c.ranks[i] || !strings.Contains(d.Reason, c.reasons[i]) {
					t.Errorf("got %+v, want %v by %v with the reason %q", d, c.roles[i], c.ranks[i], c.reasons[i])
				}
				var want []string
				if c.conflicts[i] != "" {
					want = strings.Split(c.conflicts[i], "|")
				}
				if !slices.EqualFunc(d.Conflicts, want, strings.HasPrefix) {
					t.Errorf("leg %s: conflicts %q, want %q", d.LegID, d.Conflicts, want)
				}
			}
		})
	}
}

func TestZeroRules(t *testing.T) {
	got := Decide(Rules{}, media.Call{}, []media.Leg{{ID: "a", Role: agent, Label: "x", Identity: "y"}, {ID: "b"}})
	if got[0].Role != agent || got[1].Role != customer {
		t.Errorf("got %+v", got)
	}
}

func TestAddresses(t *testing.T) {
	cases := []struct {
		rule Address
		yes  []string
		no   []string
	}{
		{
			Address{Number: "22??"},
			[]string{"2207", "sip:2207@pbx", "SIPS:2207@pbx:5061;transport=tls", `"Ines" <sip:2207@10.0.0.1>`, "tel:22-07", " 2207 ", "2207?x=y"},
			[]string{"220", "22070", "12207", "sip:a@2207", "", "alice"},
		},
		{Address{Number: "+49*"}, []string{"+4930111222", "tel:+49(30)111-222", "+49 30 111"}, []string{"4930111222", "004930"}},
		{Address{Number: "Agent.*"}, []string{"sip:agent.7@x", "AGENT.@x"}, []string{"agentX7@x"}},
		{Address{Host: "*.carrier.example"}, []string{"a@sbc.Carrier.example", "sip:a@x.carrier.example:5060;lr"}, []string{"a@carrier.example", "sbc.carrier.example", "a@x.carrier.example.evil"}},
		{Address{Host: "2001:db8::1"}, []string{"sip:a@[2001:db8::1]:5060"}, []string{"sip:a@[2001:db8::2]"}},
		{Address{Regexp: `^22\d\d@pbx`}, []string{"sip:2207@PBX.example"}, []string{"sip:32207@pbx"}},
		{Address{MinDigits: 8, MaxDigits: 15}, []string{"+4930111222", "12345678", "sip:+15551234567@x"}, []string{"2207", "1234567890123456", "agent12345678", ""}},
		{Address{MaxDigits: 5}, []string{"2207", "+1"}, []string{"123456", "ines"}},
		{Address{MinDigits: 7}, []string{"1234567890123456789"}, []string{"123456"}},
		{Address{Number: "22*", Host: "pbx"}, []string{"2207@pbx"}, []string{"2207", "2207@x", "2307@pbx"}},
		{Address{Number: "*"}, []string{"x"}, []string{"@host"}},
		{Address{Host: "host"}, []string{strings.Repeat("x", 1000) + "@host"}, []string{strings.Repeat("x", 1030) + "@host"}},
	}
	for _, c := range cases {
		c.rule.Role = agent
		r := rules(t, Config{Addresses: []Address{c.rule}})
		try := func(identity string, want media.Role) {
			got := Decide(r, media.Call{}, []media.Leg{{ID: "a", Identity: identity}})[0]
			if got.Role != want {
				t.Errorf("%v: %q is %v (%s)", &r.addresses[0], identity, got.Role, got.Reason)
			}
		}
		for _, s := range c.yes {
			try(s, agent)
		}
		for _, s := range c.no {
			try(s, nobody)
		}
	}
}

func TestNew(t *testing.T) {
	cases := []struct {
		cfg  Config
		want string
	}{
		{Config{Addresses: []Address{{Role: agent, Number: "1"}, {Number: "2"}}}, "rule 2: its role"},
		{Config{Addresses: []Address{{Role: agent}}}, "fits every address"},
		{Config{Addresses: []Address{{Role: agent, MinDigits: 5, MaxDigits: 4}}}, "at least 5 and at most 4"},
		{Config{Addresses: []Address{{Role: agent, MinDigits: -1}}}, "at least -1"},
		{Config{Addresses: []Address{{Role: agent, Regexp: "("}}}, "regexp"},
		{Config{Labels: map[string]media.Role{"x": nobody}}, `label "x"`},
		{Config{Labels: map[string]media.Role{" ": agent}}, "must have text"},
		{Config{Labels: map[string]media.Role{"x": agent, "X": customer}}, "both"},
	}
	for _, c := range cases {
		if _, err := New(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %q", c.cfg, err, c.want)
		}
	}
}

func TestRanksHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := None; r <= Number; r++ {
		seen[r.String()] = true
	}
	if len(seen) != int(Number)+1 {
		t.Errorf("names %v", seen)
	}
}

// FuzzDecide wants a decision with a reason for each leg, whatever its address.
func FuzzDecide(f *testing.F) {
	for _, s := range []string{"", "sip:2207@pbx.example;lr", `"x" <tel:+49 30>`, "[::1]:1", "a@[", "<", "\xff@\xff:"} {
		f.Add(s, s)
	}
	r := rules(f, Config{Addresses: []Address{{Role: agent, Number: "2*", Host: "?*"}, {Role: customer, MinDigits: 3}}, FirstLeg: media.Caller})
	f.Fuzz(func(t *testing.T, a, b string) {
		got := Decide(r, media.Call{Direction: media.Inbound}, []media.Leg{{ID: "a", Identity: a}, {ID: "b", Identity: b}})
		for _, d := range got {
			if d.Reason == "" || !decided(d.Role) {
				t.Errorf("%q, %q: %+v", a, b, d)
			}
		}
		if again := Decide(r, media.Call{Direction: media.Inbound}, []media.Leg{{ID: "a", Identity: a}, {ID: "b", Identity: b}}); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Errorf("%q, %q: %v, then %v", a, b, got, again)
		}
	})
}
