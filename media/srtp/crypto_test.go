package srtp

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// material is a key that counts up.
func material(s Suite) []byte {
	b := make([]byte, s.KeyLen()+s.SaltLen())
	for i := range b {
		b[i] = byte(i + 1)
	}
	return b
}

// inline is the same key as it stands in a crypto line.
func inline(s Suite) string { return base64.StdEncoding.EncodeToString(material(s)) }

var lines = []struct {
	name, value string
	want        Crypto // without keys' material, which counts up
	err         string
}{
	{"plain", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{}}}, ""},
	{"with the attribute's name", "a=crypto:7 AES_CM_128_HMAC_SHA1_32 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e\r\n", Crypto{Tag: 7, Suite: AESCM128SHA32, Keys: []Key{{}}}, ""},
	{"lifetime as a power", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^31", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{Lifetime: 1 << 31}}}, ""},
	{"lifetime and MKI", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^31|1:1", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{Lifetime: 1 << 31, MKI: []byte{1}}}}, ""},
	{"MKI alone", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|258:4", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{MKI: []byte{0, 0, 1, 2}}}}, ""},
	{"lifetime as a number", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|1000000", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{Lifetime: 1000000}}}, ""},
	{"padding that was left out", "12 AEAD_AES_256_GCM inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKyw", Crypto{Tag: 12, Suite: AES256GCM, Keys: []Key{{}}}, ""},
	{"padding", "12 AEAD_AES_256_GCM inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKyw=", Crypto{Tag: 12, Suite: AES256GCM, Keys: []Key{{}}}, ""},
	{"GCM 128", "3 AEAD_AES_128_GCM inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHA", Crypto{Tag: 3, Suite: AES128GCM, Keys: []Key{{}}}, ""},
	{"the other name of AES-256", "4 AES_CM_256_HMAC_SHA1_80 inline:" + inline(AESCM256SHA80), Crypto{Tag: 4, Suite: AESCM256SHA80, Keys: []Key{{}}}, ""},
	{"AES-192", "5 AES_192_CM_HMAC_SHA1_80 inline:" + inline(AESCM192SHA80), Crypto{Tag: 5, Suite: AESCM192SHA80, Keys: []Key{{}}}, ""},
	{"parameters", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e WSH=128 -x=1", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{}}, Params: []string{"WSH=128", "-x=1"}}, ""},
	{"two keys", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^20|1:4;inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^20|2:4", Crypto{Tag: 1, Suite: AESCM128SHA80, Keys: []Key{{Lifetime: 1 << 20, MKI: []byte{0, 0, 0, 1}}, {Lifetime: 1 << 20, MKI: []byte{0, 0, 0, 2}}}}, ""},

	{"empty", "", Crypto{}, "0 fields"},
	{"no key", "1 AES_CM_128_HMAC_SHA1_80", Crypto{}, "2 fields"},
	{"no tag", "x AES_CM_128_HMAC_SHA1_80 inline:AQ", Crypto{}, "tag"},
	{"tag too long", "1234567890 AES_CM_128_HMAC_SHA1_80 inline:AQ", Crypto{}, "tag"},
	{"unknown suite", "1 ROT13 inline:AQ", Crypto{}, `tag 1: suite "ROT13" is not known`},
	{"another method", "1 AES_CM_128_HMAC_SHA1_80 uri:AQ", Crypto{}, "inline"},
	{"short key", "9 AES_CM_128_HMAC_SHA1_80 inline:AQID", Crypto{}, "tag 9: key and salt are 3 bytes, AES_CM_128_HMAC_SHA1_80 needs 30"},
	{"no base64", "1 AES_CM_128_HMAC_SHA1_80 inline:A!IDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e", Crypto{}, "base64"},
	{"lifetime of zero", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|0", Crypto{}, "lifetime"},
	{"lifetime too long", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^49", Crypto{}, "lifetime"},
	{"two lifetimes", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|2^4|2^5", Crypto{}, "lifetime"},
	{"MKI too large", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|256:1", Crypto{}, "256"},
	{"MKI too long", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|1:129", Crypto{}, "length"},
	{"MKI first", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e|1:1|2^4", Crypto{}, "follows"},
	{"four parts", "1 AES_CM_128_HMAC_SHA1_80 inline:AQ|2^4|1:1|9", Crypto{}, "4 parts"},
	{"two keys without MKI", "1 AES_CM_128_HMAC_SHA1_80 inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e;inline:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0e", Crypto{}, "different MKIs"},
	{"too many keys", "1 AES_CM_128_HMAC_SHA1_80 " + strings.Repeat("inline:AQ;", 9), Crypto{}, "10 keys"},
	{"too long", "1 AES_CM_128_HMAC_SHA1_80 inline:" + strings.Repeat("A", 3000), Crypto{}, "at most 2048"},
}

// equal compares lines but for the keys, which must count up.
func equal(got, want Crypto) bool {
	if got.Tag != want.Tag || got.Suite != want.Suite || fmt.Sprint(got.Params) != fmt.Sprint(want.Params) || len(got.Keys) != len(want.Keys) {
		return false
	}
	for i, k := range got.Keys {
		w := want.Keys[i]
		if k.Lifetime != w.Lifetime || !bytes.Equal(k.MKI, w.MKI) || !bytes.Equal(k.Material, material(got.Suite)) {
			return false
		}
	}
	return true
}

func TestParse(t *testing.T) {
	for _, c := range lines {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.value)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				if strings.Contains(err.Error(), "AQID") {
					t.Errorf("the error shows the key: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !equal(got, c.want) {
				t.Errorf("got %s, %d keys, %q; want %s", got, len(got.Keys), got.Value(), c.want)
			}
			again, err := Parse(got.Value())
			if err != nil || !equal(again, got) {
				t.Errorf("%q is not read back: %v", got.Value(), err)
			}
			if all := fmt.Sprintf("%v %+v %#v %s", got, got, got, got); strings.Contains(all, "1 2 3") || strings.Contains(all, "AQID") || strings.Contains(all, "0x1, 0x2") {
				t.Errorf("printing shows the key: %s", all)
			}
		})
	}
}

// TestMutations feeds broken lines: each is read, or refused with a reason.
func TestMutations(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	refused := 0
	for i := range 1000 {
		b := []byte(lines[i%13].value)
		for range rng.IntN(4) + 1 {
			switch at := rng.IntN(len(b)); rng.IntN(3) {
			case 0:
				b[at] = byte(rng.IntN(256))
			case 1:
				b = append(b[:at], b[at+1:]...)
			default:
				b = append(b[:at], append([]byte{byte(rng.IntN(128))}, b[at:]...)...)
			}
		}
		if _, err := Parse(string(b)); err != nil {
			refused++
			if !strings.HasPrefix(err.Error(), "srtp: ") || len(err.Error()) > 300 {
				t.Errorf("%q: the error does not say what is wrong: %v", b, err)
			}
		}
	}
	if refused < 300 {
		t.Errorf("only %d of 1000 mutations were refused", refused)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range lines {
		f.Add(c.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, err := Parse(value)
		if err != nil {
			return
		}
		again, err := Parse(c.Value())
		if err != nil {
			t.Fatalf("%q was read, its value %q not: %v", value, c.Value(), err)
		}
		if again.Value() != c.Value() {
			t.Fatalf("%q became %q", c.Value(), again.Value())
		}
	})
}

// The order in which rtpengine offers its suites, keys unpadded.
func offer() []string {
	var all []string
	for i, s := range []Suite{AES256GCM, AES128GCM, AESCM256SHA80, AESCM256SHA32, AESCM192SHA80, AESCM192SHA32, AESCM128SHA80, AESCM128SHA32} {
		all = append(all, fmt.Sprintf("%d %v inline:%s", i+1, s, strings.TrimRight(inline(s), "=")))
	}
	return append(all, "9 F8_128_HMAC_SHA1_80 inline:"+inline(AESCM128SHA80), "10 NULL_HMAC_SHA1_80 inline:"+inline(AESCM128SHA80),
		"11 NULL_HMAC_SHA1_32 inline:"+inline(AESCM128SHA80), "12 SOMETHING inline:AAAA")
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []string
		want   string
	}{
		{"S15 twelve lines", offer(), "1 AEAD_AES_256_GCM"},
		{"S15 the suite all have, tag 7", offer()[6:], "7 AES_CM_128_HMAC_SHA1_80"},
		{"AES-192 is passed over", offer()[4:], "7 AES_CM_128_HMAC_SHA1_80"},
		{"what cannot be read is passed over", []string{"x", "3 AES_CM_128_HMAC_SHA1_32 inline:" + inline(AESCM128SHA32)}, "3 AES_CM_128_HMAC_SHA1_32"},
		{"so is a parameter that must be known", []string{"1 AES_CM_128_HMAC_SHA1_80 inline:" + inline(AESCM128SHA80) + " UNENCRYPTED_SRTP", "2 AES_CM_128_HMAC_SHA1_80 inline:" + inline(AESCM128SHA80) + " -NEW WSH=64 KDR=0"}, "2 AES_CM_128_HMAC_SHA1_80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Choose(c.values)
			if err != nil || got.String() != c.want {
				t.Errorf("%v, %v; want %s", got, err, c.want)
			}
			random := bytes.NewReader(bytes.Repeat([]byte{9}, 64))
			a, err := Answer(got, random)
			if err != nil || a.String() != c.want {
				t.Errorf("answer %v, %v", a, err)
			}
			if bytes.Equal(a.Keys[0].Material, got.Keys[0].Material) || a.Keys[0].Material[0] != 9 {
				t.Error("the answer's key is not its own")
			}
		})
	}
	for _, c := range []struct {
		values []string
		want   []string
	}{
		{nil, []string{"has none"}},
		{offer()[8:], []string{"tag 9: suite", "tag 12"}},
		{offer()[4:6], []string{"AES_192_CM_HMAC_SHA1_80 is not supported"}},
	} {
		_, err := Choose(c.values)
		if !errors.Is(err, ErrNoneUsable) {
			t.Errorf("%v", err)
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%v does not say %q", err, w)
			}
		}
	}
	if _, err := Answer(Crypto{Tag: 1, Suite: AESCM192SHA80, Keys: []Key{{}}}, bytes.NewReader(nil)); err == nil {
		t.Error("AES-192 was answered")
	}
	if _, err := Answer(Crypto{Tag: 1, Suite: AES128GCM, Keys: []Key{{}}}, bytes.NewReader(nil)); err == nil || !strings.Contains(err.Error(), "making a key") {
		t.Errorf("no randomness: %v", err)
	}
}
