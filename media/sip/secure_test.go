package sip

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/srtp/v3"

	"sidetone/media"
	ours "sidetone/media/srtp"
)

// certificate makes one for 127.0.0.1.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func TestTLS(t *testing.T) {
	s, h := serve(t, func(c *Config) {
		c.UDP, c.TCP, c.TLS, c.TLSConfig = netip.AddrPort{}, netip.AddrPort{}, netip.AddrPortFrom(loopback, 0), certificate(t)
	}, nil)
	c := dial(t, s, "TLS")
	m := c.begin(multipart, usual)
	if !strings.Contains(m.get("contact"), ";transport=tls>;+sip.srs") {
		t.Errorf("Contact %q", m.get("contact"))
	}
	// Our BYE takes the connection that the client has opened.
	h.call(t, 0).hangUp(media.End{State: media.Aborted, Reason: "enough", At: time.Now()})
	c.request("BYE")
	h.call(t, 0).ended(t, media.Aborted, "enough")

	// Who does not speak TLS does not get in the way.
	plain, err := net.Dial("tcp", s.Addr("TLS").String())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write([]byte("OPTIONS sip:x SIP/2.0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if m := dial(t, s, "TLS").ask("OPTIONS", "", ""); m.status() != 200 {
		t.Errorf("OPTIONS: %s", m.start)
	}
}

// cryptoLines are twelve offers in the order in which rtpengine lists them, and
// without the padding of base64, as rtpengine writes keys.
func cryptoLines(t *testing.T) (lines []string, keys map[string]string) {
	t.Helper()
	keys = map[string]string{}
	for i, s := range []struct {
		name string
		size int
	}{
		{"AEAD_AES_256_GCM", 44}, {"AEAD_AES_128_GCM", 28}, {"AES_256_CM_HMAC_SHA1_80", 46}, {"AES_256_CM_HMAC_SHA1_32", 46},
		{"AES_192_CM_HMAC_SHA1_80", 38}, {"AES_192_CM_HMAC_SHA1_32", 38}, {"AES_CM_128_HMAC_SHA1_80", 30}, {"AES_CM_128_HMAC_SHA1_32", 30},
		{"F8_128_HMAC_SHA1_80", 30}, {"F8_128_HMAC_SHA1_32", 30}, {"NULL_HMAC_SHA1_80", 30}, {"NULL_HMAC_SHA1_32", 30},
	} {
		key := make([]byte, s.size)
		for j := range key {
			key[j] = byte(i*31 + j*7)
		}
		value := fmt.Sprintf("%d %s inline:%s", i+1, s.name, base64.RawStdEncoding.EncodeToString(key))
		lines = append(lines, value)
		keys[s.name] = value
	}
	return lines, keys
}

// sealed sends packets of a square wave, protected with the key of a crypto line.
func sealed(t *testing.T, to int, line string, profile srtp.ProtectionProfile, code byte) {
	t.Helper()
	c, err := ours.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	material := c.Keys[0].Material
	ctx, err := srtp.CreateContext(material[:c.Suite.KeyLen()], material[c.Suite.KeyLen():], profile)
	if err != nil {
		t.Fatal(err)
	}
	from := socket(t)
	dst := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to}
	for i := range 15 {
		b, err := ctx.EncryptRTP(nil, rtpPacket(8, code, 77, i), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := from.WriteTo(b, dst); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

// savp is a protected m-line.
func savp(proto, label string, cryptos ...string) string {
	s := "m=audio 24100 " + proto + " 8\r\na=label:" + label + "\r\na=sendonly\r\n"
	for _, c := range cryptos {
		s += "a=crypto:" + c + "\r\n"
	}
	return s
}

// cryptoOf is the crypto line of a part of an answer, empty if there is none.
func cryptoOf(line string) string {
	_, after, _ := strings.Cut(line, "a=crypto:")
	value, _, _ := strings.Cut(after, "\r\n")
	return value
}

func TestSRTP(t *testing.T) {
	lines, keys := cryptoLines(t)
	t.Run("S15 twelve crypto lines", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "UDP")
		m := c.begin(multipart, parts(offer(1, savp("RTP/SAVP", "1", lines...)), both))
		if !strings.HasPrefix(m.lines()[0], "audio ") || !strings.Contains(m.lines()[0], " RTP/SAVP 8\r\n") {
			t.Fatalf("the answer is\n%s", m.body)
		}
		answered := cryptoOf(m.lines()[0])
		if !strings.HasPrefix(answered, "1 AEAD_AES_256_GCM inline:") || strings.Contains(m.body, keys["AEAD_AES_256_GCM"]) {
			t.Errorf("the answer has %q; want tag 1 with a key of our own", answered)
		}
		sealed(t, m.ports()[0], keys["AEAD_AES_256_GCM"], srtp.ProtectionProfileAeadAes256Gcm, loud)
		if n := h.call(t, 0).leg(t, "1").heard(t, 1); n < 10000 {
			t.Errorf("the amplitude is %d", n)
		}
		// Plain packets on a protected line are nobody's.
		before := h.call(t, 0).leg(t, "1").count()
		refresh := c.begin("application/sdp", offer(1, savp("RTP/SAVP", "1", lines...)))
		if refresh.body != m.body {
			t.Error("a refresh changed the answer, and with it our key")
		}
		if before == 0 {
			t.Error("nothing was heard")
		}
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
	t.Run("S15 tag 7 alone", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "TCP")
		m := c.begin(multipart, parts(offer(1, savp("RTP/SAVP", "1", keys["AES_CM_128_HMAC_SHA1_80"]+"|2^31|1:1")), both))
		if a := cryptoOf(m.lines()[0]); !strings.HasPrefix(a, "7 AES_CM_128_HMAC_SHA1_80 inline:") {
			t.Errorf("the answer has %q", a)
		}
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
	t.Run("S16 mixed offer and a change of keys", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "UDP")
		tag7, tag8 := keys["AES_CM_128_HMAC_SHA1_80"], keys["AES_CM_128_HMAC_SHA1_32"]
		m := c.begin(multipart, parts(offer(1, savp("RTP/AVP", "1"), savp("RTP/SAVP", "2", tag7)), both))
		l := m.lines()
		if !strings.Contains(l[0], "RTP/AVP 8") || cryptoOf(l[0]) != "" || !strings.Contains(l[1], "RTP/SAVP 8") || !strings.HasPrefix(cryptoOf(l[1]), "7 ") {
			t.Fatalf("the answer is\n%s", m.body)
		}
		speak(t, socket(t), m.ports()[0], 8, loud, 1, 0, 15)
		sealed(t, m.ports()[1], tag7, srtp.ProtectionProfileAes128CmHmacSha1_80, loud)
		call := h.call(t, 0)
		call.leg(t, "1").heard(t, 1)
		call.leg(t, "2").heard(t, 1)
		again := c.begin("application/sdp", offer(2, savp("RTP/AVP", "1"), savp("RTP/SAVP", "2", tag8)))
		if a := cryptoOf(again.lines()[1]); !strings.HasPrefix(a, "8 ") || again.ports()[1] != m.ports()[1] {
			t.Errorf("the answer is\n%s", again.body)
		}
		c.bye()
		call.ended(t, media.Ended, "")
	})
	t.Run("RTP/AVP with a key", func(t *testing.T) {
		s, h := serve(t, nil, nil)
		c := dial(t, s, "UDP")
		m := c.begin(multipart, parts(offer(1, savp("RTP/AVP", "1", keys["AES_CM_128_HMAC_SHA1_80"])), both))
		if l := m.lines()[0]; !strings.Contains(l, "RTP/AVP 8") || !strings.HasPrefix(cryptoOf(l), "7 ") {
			t.Errorf("the answer is\n%s", m.body)
		}
		// Its sender may yet send plainly.
		speak(t, socket(t), m.ports()[0], 8, loud, 1, 0, 15)
		h.call(t, 0).leg(t, "1").heard(t, 1)
		c.bye()
		h.call(t, 0).ended(t, media.Ended, "")
	})
}
