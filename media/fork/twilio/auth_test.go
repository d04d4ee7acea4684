package twilio

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// The golden vector of the reference, which was computed with another
// implementation of HMAC-SHA1.
const (
	goldenToken     = "0123456789abcdef0123456789abcdef"
	goldenURL       = "wss://ears.example.test/ingest/twilio"
	goldenSignature = "A2JJD/EZcN7NmFTG0xxNyf24Ncs="
)

func TestSignature(t *testing.T) {
	if got := Signature(goldenToken, goldenURL); got != goldenSignature {
		t.Fatalf("got %s, want %s", got, goldenSignature)
	}
	for _, c := range []struct {
		name, signature, token, url string
		want                        bool
	}{
		{"T1 correct", goldenSignature, goldenToken, goldenURL, true},
		{"configured with a slash", goldenSignature, goldenToken, goldenURL + "/", true},
		{"configured as https", goldenSignature, goldenToken, strings.Replace(goldenURL, "wss", "https", 1), true},
		{"signed as https with a slash", Signature(goldenToken, "https://ears.example.test/ingest/twilio/"), goldenToken, goldenURL, true},
		{"T1 missing", "", goldenToken, goldenURL, false},
		{"T1 bad", "A2JJD/EZcN7NmFTG0xxNyf24Ncs", goldenToken, goldenURL, false},
		{"another host", goldenSignature, goldenToken, "wss://evil.example.test/ingest/twilio", false},
		{"another path", goldenSignature, goldenToken, goldenURL + "2", false},
		{"unencrypted", Signature(goldenToken, strings.Replace(goldenURL, "wss", "ws", 1)), goldenToken, goldenURL, false},
		{"another token", goldenSignature, goldenToken[1:] + "0", goldenURL, false},
		{"no token is configured", Signature("", goldenURL), "", goldenURL, false},
		{"no address is configured", Signature(goldenToken, ""), goldenToken, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Signed(c.signature, c.token, c.url); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	if _, err := NewTokens("short"); err == nil {
		t.Error("a key of 5 bytes is taken")
	}
	tokens, err := NewTokens("0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	// printf %s CA1.1772357460.n1 | openssl dgst -sha256 -hmac 0123456789abcdef
	const golden = "1772357460.n1.82b83a24d9aa18541cc79f149bbde970c9e29025402bb80d013b3e0f52cf36b1"
	if got := tokens.Mint("CA1", "n1", opened.Add(time.Minute)); got != golden {
		t.Errorf("got %s, want %s", got, golden)
	}
	for _, c := range []struct {
		name, token string
		at          time.Duration
		want        error
	}{
		{"good", golden, 0, nil},
		{"T16 again", golden, time.Second, ErrTokenSpent},
		{"none", "", 0, ErrNoToken},
		{"expired", tokens.Mint("CA1", "n2", opened), 0, ErrExpired},
		{"for ever", tokens.Mint("CA1", "n3", opened.Add(25*time.Hour)), 0, ErrBadToken},
		{"another call's", tokens.Mint("CA2", "n4", opened.Add(time.Minute)), 0, ErrBadToken},
		{"another time", strings.Replace(golden, "177235746", "177235747", 1), 0, ErrBadToken},
		{"parts", "1.2", 0, ErrBadToken},
		{"no number", "x.n." + strings.Repeat("0", 64), 0, ErrBadToken},
		{"long", tokens.Mint("CA1", strings.Repeat("n", 65), opened.Add(time.Minute)), 0, ErrBadToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := tokens.Redeem("CA1", c.token, opened.Add(c.at)); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	// What was used is forgotten when it would have expired anyway.
	for i := range 500 {
		now := opened.Add(time.Duration(i) * time.Minute)
		if err := tokens.Redeem("CA1", tokens.Mint("CA1", fmt.Sprint(i), now.Add(time.Minute)), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tokens.spent); n > 3 {
		t.Errorf("%d used tokens are remembered", n)
	}
}
