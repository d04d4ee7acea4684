//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"sidetone/internal/journal"
	"sidetone/media/rtpsend"
)

// certificate writes a certificate for this machine and its key, and returns a
// client that trusts no other.
func certificate(t *testing.T, dir string) (cert, key string, web *http.Client) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sidetone test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, b := range map[string][]byte{cert: public, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err = os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	return cert, key, &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
	}}
}

// A call that was recorded is played in the browser, over TLS: the page's pane is
// connected, the audio decodes, and the transcript goes along.
func TestACallIsPlayedBack(t *testing.T) {
	dir := t.TempDir()
	cert, key, web := certificate(t, dir)
	s := launch(t, fmt.Sprintf("server:\n  listen: 127.0.0.1:0\n  drain_limit: 0s\n  tls:\n    cert_file: %s\n    key_file: %s\n"+
		"access:\n  required: false\nmedia:\n  first_port: 0\n  last_port: 0\nrecording:\n  calls: all\n  note: Callers hear that they are recorded.\n", cert, key))
	s.web = web
	ctx := browser(t, chromedp.Flag("ignore-certificate-errors", true), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	within(ctx, t, 60*time.Second, "the pane does not connect over TLS",
		chromedp.Navigate(s.url+"/agent/ann"), truth(`document.querySelector("#link").dataset.state === "connected"`))

	finish, _ := talk(t, s.begin(t, "taped"), 0, 16*time.Second, rtpsend.Impairment{})
	finish()
	if st := s.api(t, http.MethodDelete, "/v1/calls/taped", "", nil); st != http.StatusOK {
		t.Fatalf("ending the call: %d", st)
	}
	rec := s.until(t, "taped", "recorded", func(c *journal.Call) bool { return c.Closed && c.Recording != nil })
	if rec.Recording.DurationMS < 14_000 || rec.Recording.Format != "flac" {
		t.Errorf("the recording: %+v", *rec.Recording)
	}

	within(ctx, t, 60*time.Second, "the recording does not come",
		chromedp.Navigate(s.url+"/calls/"+rec.Key), truth(`document.querySelector("#audio").duration > 14`))
	within(ctx, t, 30*time.Second, "the recording does not play",
		chromedp.Evaluate[chromedp.Void](`{ const a = document.querySelector("#audio"); a.currentTime = 9; a.play(); }`),
		truth(`document.querySelector("#audio").currentTime > 10 && document.querySelector("#audio").error === null`))
	shot(ctx, t, "recording")
	within(ctx, t, 60*time.Second, "the list of calls does not come", chromedp.Navigate(s.url+"/calls"),
		truth(`document.body.innerText.includes("taped")`))
	shot(ctx, t, "calls")
}
