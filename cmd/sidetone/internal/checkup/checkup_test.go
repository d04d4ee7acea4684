package checkup

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/benchlive"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/leaktest"
	"sidetone/internal/needs"
	"sidetone/internal/store"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// installation is one that nothing is wrong with, in a folder of its own.
func installation(t *testing.T) *Config {
	t.Helper()
	cfg, err := config.Default()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Server.Listen = "127.0.0.1:0"
	cfg.Media.FirstPort, cfg.Media.LastPort = 0, 0
	cfg.Storage.Dir = filepath.Join(t.TempDir(), "data")
	c := &Config{Config: cfg, Proc: filepath.Join(t.TempDir(), "proc")}
	c.write(t, "sys/net/core/rmem_max", "8388608\n")
	c.write(t, "meminfo", "MemTotal: 99999999 kB\nMemAvailable:   16000000 kB\n")
	return c
}

func (c *Config) write(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(c.Proc, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// found is what one look finds, a line each: level, text, advice.
func found(t *testing.T, c *Config, look func(context.Context, *Config, add)) string {
	t.Helper()
	var b strings.Builder
	look(t.Context(), c, func(level Level, advice, format string, args ...any) {
		fmt.Fprintf(&b, "%v: %s → %s\n", level, fmt.Sprintf(format, args...), advice)
	})
	return b.String()
}

func TestRisksAreNamed(t *testing.T) {
	c := installation(t)
	if got := found(t, c, risks); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, "ok: the built-in defaults: valid") {
		t.Errorf("the defaults: %s", got)
	}
	for want, edit := range map[string]func(*config.Config){
		"warning: server.listen 0.0.0.0:8080: pages":      func(c *config.Config) { c.Server.Listen = "0.0.0.0:8080" },
		"warning: server.listen :8080: pages":             func(c *config.Config) { c.Server.Listen = ":8080" },
		"warning: server.listen 10.1.0.5:8080: passwords": func(c *config.Config) { c.Server.Listen = "10.1.0.5:8080" },
		"problem: access.required is false and others":    func(c *config.Config) { c.Server.Listen, c.Access.Required = "10.1.0.5:8080", false },
		"warning: access.required is false: everybody on": func(c *config.Config) { c.Access.Required = false },
		"warning: access.open_sources":                    func(c *config.Config) { c.Server.Listen, c.Access.OpenSources = "10.1.0.5:8080", true },
		"warning: sources.allow is empty":                 func(c *config.Config) { c.Media.Host = "10.1.0.5" },
		"warning: AudioSocket knows no secret":            func(c *config.Config) { c.Sources.AudioSocket.Listen = "127.0.0.1:9092" },
		"warning: SIPREC comes unencrypted":               func(c *config.Config) { c.Sources.SIPREC.UDP = "10.1.0.5:5060" },
		"warning: journal.url: what is said":              func(c *config.Config) { c.Journal.URL = "nats://10.1.0.7:4222" },
		"warning: the database is elsewhere":              func(c *config.Config) { c.Storage.Records = "postgres://s@db.example/s" },
		"warning: tracing.endpoint: traces go":            func(c *config.Config) { c.Tracing.Endpoint = "http://10.1.0.9:4318" },
		"is sent to api.example": func(c *config.Config) {
			c.Recognition.Fallback, c.Recognition.OpenAI.URL = config.OpenAI, "https://api.example/v1"
		},
		"ok: the built-in defaults: valid → \nwarning": func(c *config.Config) { c.Sources.SIPREC.TCP = "10.1.0.5:5060" },
	} {
		c := installation(t)
		edit(&c.Config)
		if got := found(t, c, risks); !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
	c.Config.Sources.Allow, c.Config.Media.Host = []string{"10.0.0.0/8"}, "10.1.0.5"
	if got := found(t, c, risks); strings.Contains(got, "sources.allow") {
		t.Errorf("with a list: %s", got)
	}
}

func TestPortsAreTried(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	closing := make(chan struct{})
	go func() {
		defer close(closing)
		for {
			c, err := taken.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	own := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"status":"ok","version":"v7"}`) }))
	defer own.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	rtp := udp.LocalAddr().(*net.UDPAddr).Port
	rtp -= rtp % 2
	for want, edit := range map[string]func(*config.Config){
		"ok: server.listen 127.0.0.1:0 is free":                                            func(*config.Config) {},
		"problem: server.listen " + taken.Addr().String() + " is taken by another program": func(c *config.Config) { c.Server.Listen = taken.Addr().String() },
		"Sidetone v7 is running there":                                                     func(c *config.Config) { c.Server.Listen = own.Listener.Addr().String() },
		"problem: server.listen 203.0.113.1:80":                                            func(c *config.Config) { c.Server.Listen = "203.0.113.1:80" },
		"problem: sources.audiosocket.listen":                                              func(c *config.Config) { c.Sources.AudioSocket.Listen = taken.Addr().String() },
		"ok: sources.siprec.udp 127.0.0.1:0":                                               func(c *config.Config) { c.Sources.SIPREC.UDP = "127.0.0.1:0" },
		"enough for 2 legs; media.max_calls 50 takes 100":                                  func(c *config.Config) { c.Media.FirstPort, c.Media.LastPort = rtp, rtp+3 },
		"problem: RTP on 203.0.113.1": func(c *config.Config) {
			c.Media.Host, c.Media.FirstPort, c.Media.LastPort = "203.0.113.1", rtp, rtp+500
		},
		"warning: RTP ports are chosen by the kernel": func(*config.Config) {},
	} {
		c := installation(t)
		edit(&c.Config)
		if got := found(t, c, ports); !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
	taken.Close()
	<-closing
}

func TestLimitsAndMemory(t *testing.T) {
	c := installation(t)
	if got := found(t, c, limits); !strings.Contains(got, "ok: net.core.rmem_max 8388608") {
		t.Error(got)
	}
	c.write(t, "sys/net/core/rmem_max", "212992\n")
	if got := found(t, c, limits); !strings.Contains(got, "warning: net.core.rmem_max 212992: a leg's socket holds about 3s") {
		t.Error(got)
	}
	c.Config.Media.MaxCalls = 1 << 29
	if got := found(t, c, limits); !strings.Contains(got, "problem: ") || !strings.Contains(got, "LimitNOFILE=") {
		t.Error(got)
	}
	c.Config.Media.MaxCalls = 50
	if got := found(t, c, memory); !strings.Contains(got, "ok: memory available: 15 GiB") {
		t.Error(got)
	}
	c.write(t, "meminfo", "MemAvailable:   100000 kB\n")
	if got := found(t, c, memory); !strings.Contains(got, "problem: memory available: 97 MiB") {
		t.Error(got)
	}
	c.write(t, "meminfo", "nothing\n")
	if got := found(t, c, memory); !strings.Contains(got, "warning: how much memory") {
		t.Error(got)
	}
}

func TestDiskAndStores(t *testing.T) {
	c := installation(t)
	if got := found(t, c, disk); !strings.Contains(got, "forcing 4 KiB to disk takes") || strings.Contains(got, "problem") {
		t.Error(got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(c.Config.Storage.Dir), ".sidetone*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := found(t, c, journal); !strings.Contains(got, "will be made") {
		t.Error(got)
	}
	if got := found(t, c, records); !strings.Contains(got, "is empty; schema") {
		t.Error(got)
	}
	path := filepath.Join(c.Config.Storage.Dir, "sidetone.db")
	db, err := store.Open(t.Context(), store.Config{URL: path})
	if err != nil {
		t.Fatal(err)
	}
	if got := found(t, c, records); !strings.HasPrefix(got, "ok: "+path+": schema ") {
		t.Error(got)
	}
	if _, err = db.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, ?)`, true); err != nil {
		t.Fatal(err)
	}
	if got := found(t, c, records); !strings.HasPrefix(got, "problem: "+path+" has schema 9999") {
		t.Error(got)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	if err = os.Chmod(c.Config.Storage.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := found(t, c, disk); !strings.Contains(got, "warning: "+c.Config.Storage.Dir+": others may look into it") {
		t.Error(got)
	}
	c.Config.Storage.Dir = filepath.Join(path, "below", "a", "file")
	if got := found(t, c, disk); !strings.Contains(got, "problem: ") {
		t.Error(got)
	}
}

// greets serves connections with one line each.
func greets(t *testing.T, line string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, line)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestNATSIsRecognised(t *testing.T) {
	for line, want := range map[string]string{
		"INFO {\"version\":\"2.15.2\",\"jetstream\":true}\r\n": "ok: NATS 2.15.2 at ",
		"INFO {\"version\":\"2.15.2\"}\r\n":                    "runs without JetStream",
		"220 smtp.example\r\n":                                 "it does not greet as NATS does",
		"":                                                     "it does not greet as NATS does",
	} {
		c := installation(t)
		c.Config.Journal.URL = "nats://" + greets(t, line)
		if got := found(t, c, journal); !strings.Contains(got, want) {
			t.Errorf("%q: %s", line, got)
		}
	}
	c := installation(t)
	c.Config.Journal.URL = "nats://127.0.0.1:1, nats://127.0.0.1:2"
	if got := found(t, c, journal); strings.Count(got, "problem: NATS at") != 2 {
		t.Error(got)
	}
}

func TestPeersAreAsked(t *testing.T) {
	sbc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 4096)
		for {
			n, from, err := sbc.ReadFrom(b)
			if err != nil {
				return
			}
			reply := "SIP/2.0 200 OK\r\n"
			for line := range strings.Lines(string(b[:n])) {
				name, _, _ := strings.Cut(line, ":")
				switch strings.ToLower(name) {
				case "via", "from", "call-id", "cseq":
					reply += line
				case "to":
					reply += strings.TrimSpace(line) + ";tag=1\r\n"
				}
			}
			_, _ = sbc.WriteTo([]byte(reply+"Server: test SBC 3\r\nContent-Length: 0\r\n\r\n"), from)
		}
	}()
	defer func() { sbc.Close(); <-done }()
	c := installation(t)
	tcp := "tcp:" + greets(t, "")
	c.Config.Doctor.Peers = []string{"sip:" + sbc.LocalAddr().String(), tcp}
	c.Peers = []string{"tcp:127.0.0.1:1", "nonsense"}
	got := found(t, c, peers)
	for _, want := range []string{"answers OPTIONS with 200 OK", "(test SBC 3)", "ok: " + tcp + " takes connections", "problem: tcp:127.0.0.1:1", "problem: nonsense"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

func TestKeyFilesArePrivate(t *testing.T) {
	c := installation(t)
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	s := &c.Config.Sources
	s.TokensFile, s.AudioHook.KeysFile, s.Twilio.TokenFile = file("a", 0o600), file("b", 0o640), file("c", 0o644)
	s.SIPREC.KeyFile = filepath.Join(dir, "none")
	if err := os.MkdirAll(filepath.Join(c.Config.Storage.Dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.Config.Storage.Dir, "keys", "k.key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := found(t, c, files)
	for _, want := range []string{"ok: sources.tokens_file", "warning: sources.audiohook.keys_file: the group", "problem: sources.twilio.token_file: everybody", "problem: sources.siprec.key_file", "ok: key k.key"} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in:\n%s", want, got)
		}
	}
}

func TestCertificates(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	pair := func(name string, from, to time.Time) (cert, key string) {
		t.Helper()
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to, DNSNames: []string{name}}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		for file, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(file, pem.EncodeToMemory(b), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return cert, key
	}
	day := 24 * time.Hour
	good, goodKey := pair("good.example", now.Add(-day), now.Add(90*day))
	soon, soonKey := pair("soon.example", now.Add(-day), now.Add(3*day+time.Hour))
	old, oldKey := pair("old.example", now.Add(-9*day), now.Add(-day))
	early, earlyKey := pair("early.example", now.Add(day), now.Add(9*day))
	for _, c := range []struct{ cert, key, name, want string }{
		{good, goodKey, "good.example", "ok: k: valid until 2026-08-30 00:00 UTC, for good.example"},
		{good, goodKey, "", "ok: k: valid"},
		{good, goodKey, "other.example", "problem: k: x509"},
		{soon, soonKey, "", "warning: k: it expires in 3 days"},
		{old, oldKey, "", "problem: k: it has expired"},
		{early, earlyKey, "", "problem: k: it is valid only from"},
		{good, soonKey, "", "problem: k: tls: private key does not match"},
		{"none", "none", "", "problem: k: open none"},
	} {
		var b strings.Builder
		certificate("k", c.cert, c.key, c.name, now, func(level Level, _, format string, args ...any) {
			fmt.Fprintf(&b, "%v: %s\n", level, fmt.Sprintf(format, args...))
		})
		if !strings.Contains(b.String(), c.want) {
			t.Errorf("%s: want %q in %s", c.cert, c.want, b.String())
		}
	}
}

func TestCapacityIsJudged(t *testing.T) {
	for want, r := range map[string]benchlive.Result{
		"ok: a call with both sides takes 1 % of a core":           {Words: 50, Core: 0.01, Lag50: 0.5, Lag95: 1},
		"warning: a call with both sides takes 10 % of a core":     {Words: 50, Core: 0.1, Lag50: 0.5, Lag95: 1},
		"problem: a call with both sides takes 120 % of a core":    {Words: 50, Core: 1.2, Lag50: 0.5, Lag95: 1},
		"too slow for live calls":                                  {Words: 50, Core: 0.1, Lag50: 3, Lag95: 6},
		"about 75 calls a core, 75 on 1 worker → an estimate from": {Words: 50, Core: 0.01, Lag50: 0.5, Lag95: 1},
	} {
		c := installation(t)
		got := found(t, c, func(_ context.Context, c *Config, put add) { tell(c, r, put) })
		if !strings.Contains(got, want) {
			t.Errorf("want %q, got %s", want, got)
		}
	}
}

func TestWholeReport(t *testing.T) {
	needs.Model(t, "whisper-tiny.en", "model.bin")
	needs.Model(t, "silero-vad", "silero_vad_16k.safetensors")
	needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt")
	c := installation(t)
	c.Measure = 4 * time.Second
	told := 0
	r := Run(t.Context(), *c, func(Finding) { told++ })
	if told != len(r) || r.Worst() == Problem {
		t.Errorf("%d told of %d", told, len(r))
	}
	var text, encoded bytes.Buffer
	if err := r.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok       models       whisper-tiny.en", "capacity     the models are loaded in", "a call with both sides takes", "clock", "0 problems"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("want %q in\n%s", want, &text)
		}
	}
	if err := r.JSON(&encoded); err != nil {
		t.Fatal(err)
	}
	var back struct {
		Worst    string
		Findings []struct{ Area, Level, Text string }
	}
	if err := json.Unmarshal(encoded.Bytes(), &back); err != nil || len(back.Findings) != len(r) || back.Worst != r.Worst().String() {
		t.Errorf("%v, %+v", err, back)
	}
	c.Config.Models.Store, c.Config.Doctor.NTP = t.TempDir(), "127.0.0.1:1"
	if got := found(t, c, modelFiles); strings.Count(got, "problem: ") != 3 || !strings.Contains(got, "models pull") {
		t.Error(got)
	}
	if got := found(t, c, capacity); !strings.Contains(got, "problem: the models cannot be loaded") {
		t.Error(got)
	}
	if got := found(t, c, func(ctx context.Context, c *Config, put add) { clocks(ctx, c, time.Now(), put) }); !strings.Contains(got, "warning: clock: the time server") {
		t.Error(got)
	}
}
