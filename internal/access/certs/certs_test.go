package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// pair writes a certificate of that serial number and its key.
func pair(t *testing.T, dir string, serial int64, at time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func serial(t *testing.T, c *Certs, now time.Time) int64 {
	t.Helper()
	leaf, err := x509.ParseCertificate(c.at(now).Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.SerialNumber.Int64()
}

func TestFilesThatChange(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	cert, key := pair(t, dir, 1, now.Add(-time.Hour))
	c, err := New(Config{CertFile: cert, KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	if got := serial(t, c, now); got != 1 {
		t.Errorf("serial %d", got)
	}
	pair(t, dir, 2, now)
	if got := serial(t, c, now.Add(lookEvery/2)); got != 1 {
		t.Errorf("looked too early: serial %d", got)
	}
	if got := serial(t, c, now.Add(lookEvery)); got != 2 {
		t.Errorf("after the change: serial %d, want 2", got)
	}
	// Half of a pair, and no file at all, leave the one before in use.
	if err := os.WriteFile(key, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(t, c, now.Add(3*lookEvery)); got != 2 {
		t.Errorf("with half of a pair: serial %d, want 2", got)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if got := serial(t, c, now.Add(5*lookEvery)); got != 2 {
		t.Errorf("without the file: serial %d, want 2", got)
	}
	pair(t, dir, 3, now.Add(time.Hour))
	if got := serial(t, c, now.Add(7*lookEvery)); got != 3 {
		t.Errorf("when all is well again: serial %d, want 3", got)
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, 1, time.Now())
	for name, c := range map[string]Config{
		"nothing": {}, "no key": {CertFile: cert}, "no file": {CertFile: cert, KeyFile: filepath.Join(dir, "x")}, "not a pair": {CertFile: key, KeyFile: cert},
		"no authority": {CertFile: cert, KeyFile: key, ClientCAFile: key},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Old versions are refused, a client's certificate is asked for and checked where
// authorities are named, and may be left out.
func TestHandshake(t *testing.T) {
	dir := t.TempDir()
	cert, key := pair(t, dir, 1, time.Now())
	c, err := New(Config{CertFile: cert, KeyFile: key, ClientCAFile: cert})
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	strangeCert, strangeKey := pair(t, t.TempDir(), 2, time.Now())
	strange, err := tls.LoadX509KeyPair(strangeCert, strangeKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		name     string
		client   *tls.Config
		ok       bool
		verified int
	}{
		{"1.1", &tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, false, 0},
		{"1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true, 0},
		{"1.3", &tls.Config{}, true, 0},
		{"a good certificate", &tls.Config{Certificates: []tls.Certificate{own}}, true, 1},
		{"a strange one", &tls.Config{Certificates: []tls.Certificate{strange}, MaxVersion: tls.VersionTLS12}, false, 0},
	} {
		near, far := net.Pipe()
		server := tls.Server(near, c.TLS())
		done := make(chan error, 1)
		go func() { done <- server.HandshakeContext(t.Context()); near.Close() }()
		v.client.InsecureSkipVerify = true //nolint:gosec // the test looks at the server's side
		// A certificate is sent whatever the server says it wants.
		if len(v.client.Certificates) > 0 {
			one := v.client.Certificates[0]
			v.client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &one, nil }
		}
		client := tls.Client(far, v.client)
		errClient := client.HandshakeContext(t.Context())
		far.Close()
		if err := <-done; (err == nil && errClient == nil) != v.ok {
			t.Errorf("%s: server %v, client %v", v.name, err, errClient)
		} else if v.ok && len(server.ConnectionState().VerifiedChains) != v.verified {
			t.Errorf("%s: %d chains", v.name, len(server.ConnectionState().VerifiedChains))
		}
	}
}
