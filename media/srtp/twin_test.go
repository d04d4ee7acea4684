package srtp

import (
	"bufio"
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden packets anew")

// derive is RFC 3711, section 4.3, with a key derivation rate of zero, and RFC
// 7714's use of it: the session key of one purpose.
func derive(t testing.TB, key, salt []byte, label byte, n int) []byte {
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	var x [16]byte
	copy(x[:14], salt)
	x[7] ^= label
	out := make([]byte, n)
	cipher.NewCTR(block, x[:]).XORKeyStream(out, out)
	return out
}

// seal is SRTP as RFC 3711 and RFC 7714 describe it, step by step.
func seal(t testing.TB, c Crypto, packet []byte, roc uint32) []byte {
	t.Helper()
	n := c.Suite.KeyLen()
	key, salt := c.Keys[0].Material[:n], c.Keys[0].Material[n:]
	sessionKey := derive(t, key, salt, 0, n)
	sessionSalt := derive(t, key, salt, 2, len(salt))
	block, err := aes.NewCipher(sessionKey)
	if err != nil {
		t.Fatal(err)
	}
	head, body := packet[:12], packet[12:]
	index := binary.BigEndian.AppendUint32(nil, roc)
	index = append(index, head[2:4]...)
	out := bytes.Clone(head)
	if c.Suite == AES128GCM || c.Suite == AES256GCM {
		iv := make([]byte, 12)
		copy(iv[2:], head[8:12])
		copy(iv[6:], index)
		for i := range iv {
			iv[i] ^= sessionSalt[i]
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		return append(gcm.Seal(out, iv, body, head), c.Keys[0].MKI...)
	}
	iv := make([]byte, 16)
	copy(iv[4:], head[8:12])
	copy(iv[8:], index)
	for i, s := range sessionSalt {
		iv[i] ^= s
	}
	sealed := bytes.Clone(body)
	cipher.NewCTR(block, iv).XORKeyStream(sealed, sealed)
	out = append(out, sealed...)
	mac := hmac.New(sha1.New, derive(t, key, salt, 1, 20))
	mac.Write(out)
	mac.Write(index[:4])
	tag := mac.Sum(nil)[:10]
	if c.Suite == AESCM128SHA32 || c.Suite == AESCM256SHA32 {
		tag = tag[:4]
	}
	return append(append(out, c.Keys[0].MKI...), tag...)
}

// packet is plain RTP of 160 bytes that depend on the number.
func packet(seq int, ssrc uint32) []byte {
	b := []byte{0x80, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(seq))
	b = binary.BigEndian.AppendUint32(b, uint32(seq*160))
	b = binary.BigEndian.AppendUint32(b, ssrc)
	for i := range 160 {
		b = append(b, byte(i*7+seq))
	}
	return b
}

func usableSuites() []Suite {
	var all []Suite
	for s := AESCM128SHA80; s <= AES256GCM; s++ {
		if s.Usable() {
			all = append(all, s)
		}
	}
	return all
}

func line(s Suite) Crypto {
	return Crypto{Tag: 1, Suite: s, Keys: []Key{{Material: material(s)}}}
}

func session(t testing.TB, cfg Config) *Session {
	t.Helper()
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var epoch = time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)

// open opens a packet and checks that it is the plain one, or fails as wanted.
func open(t testing.TB, s *Session, sealed, plain []byte, now time.Time, want error) {
	t.Helper()
	got, authentic, err := s.Open(make([]byte, 2048), sealed, now)
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	if want == nil && (!authentic || !bytes.Equal(got, plain)) {
		t.Fatalf("authentic %t, opened to %x, want %x", authentic, got, plain)
	}
	if want != nil && (got != nil || authentic) {
		t.Fatalf("refused, and yet %d bytes, authentic %t", len(got), authentic)
	}
}

// TestGolden opens packets that were sealed once, by the code above.
func TestGolden(t *testing.T) {
	const file = "testdata/packets.txt"
	if *update {
		var b strings.Builder
		b.WriteString("# suite, rollover counter, plain packet, sealed packet; the key counts up from 1\n")
		for _, s := range usableSuites() {
			for _, roc := range []uint32{0, 3} {
				p := packet(4660, 0xCAFEBABE)[:44]
				fmt.Fprintf(&b, "%v %d %x %x\n", s, roc, p, seal(t, line(s), p, roc))
			}
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		var name, plainHex, sealedHex string
		var roc int
		if _, err := fmt.Sscan(lines.Text(), &name, &roc, &plainHex, &sealedHex); err != nil {
			t.Fatal(err)
		}
		suite, ok := ParseSuite(name)
		if !ok {
			t.Fatalf("suite %q", name)
		}
		plain, err1 := hex.DecodeString(plainHex)
		sealed, err2 := hex.DecodeString(sealedHex)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		open(t, session(t, Config{Remote: line(suite)}), sealed, plain, epoch, nil)
		n++
	}
	if n != 2*len(usableSuites()) {
		t.Errorf("%d golden packets", n)
	}
}
