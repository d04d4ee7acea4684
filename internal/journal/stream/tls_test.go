package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate makes one for 127.0.0.1 that vouches for itself.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// A node serves the others with TLS: those who do not know its authority, or have no
// secret, get nothing.
func TestTLS(t *testing.T) {
	cert, key := certificate(t)
	one := begin(t, Config{Dir: t.TempDir(), Node: "one", Listen: "127.0.0.1:0", CertFile: cert, KeyFile: key, Secret: secret, Sync: time.Minute})
	url := one.URL()
	if !strings.HasPrefix(url, "tls://127.0.0.1:") {
		t.Fatalf("it listens at %q", url)
	}
	two := begin(t, Config{URL: url, Node: "two", CAFile: cert, Secret: secret})
	one.Append(event("a", 1))
	flush(t, one)
	two.Append(event("a", 2))
	flush(t, two)
	whole(t, read(t, one, "a"), 2)
	for want, c := range map[string]Config{
		"certificate":   {URL: url, Node: "three", Secret: secret},
		"authorization": {URL: url, Node: "three", CAFile: cert, Secret: "guessed"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := Open(ctx, c)
		cancel()
		if err == nil || !strings.Contains(strings.ToLower(err.Error()), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
