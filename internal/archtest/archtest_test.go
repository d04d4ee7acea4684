package archtest

import (
	"path/filepath"
	"strings"
	"testing"
)

func house() Rules {
	return Rules{
		Domains: []string{"media", "asr", "voiceprint", "kb", "guidance", "bench"},
		Edges:   []string{"guidance asr", "bench voiceprint"},
		Pure: []string{
			"media", "media/rtpflow", "media/jitter", "media/g711", "media/g722", "media/l16", "media/opus", "media/codec", "media/resample", "media/bridge", "media/srtp", "media/report", "media/level", "media/netsim", "media/sdp", "media/siprec", "media/feed", "media/fork", "media/fork/freeswitch", "media/fork/audiohook/...", "media/roles",
			"media/fork/audiosocket", "media/fork/asterisk",
			"media/fork/twilio",
			"media/webrtc/whip", "media/webrtc/red",
			"asr", "asr/vad", "asr/text", "asr/written", "asr/stable", "asr/failover", "asr/whisper/model/...", "asr/whisper/opinion",
			"guidance", "guidance/intent", "guidance/playbook", "guidance/speaker",
			"voiceprint/spoof/...",
			"cmd/sidetone/internal/doctor", "cmd/sidetone/internal/capture",
			"voiceprint", "voiceprint/enrol", "voiceprint/watch",
			"voiceprint/backend",
			"voiceprint/embed/...",
			"voiceprint/store/turn",
			"voiceprint/quality",
			"bench", "bench/wer", "bench/nonspeech", "bench/load",
			"internal/pcm", "internal/dsp", "internal/nn", "internal/wav", "internal/tensor", "internal/safetensors", "internal/torchfile",
			"internal/journal", "internal/records/words",
			"bench/voice",
		},
		Homes: map[string][]string{
			"github.com/pion/rtp":            {"media/...", "cmd/sidetone/internal/doctor"},
			"github.com/pion/rtcp":           {"media/..."},
			"github.com/pion/srtp":           {"media/srtp"},
			"github.com/pion/transport":      {"media/srtp"},
			"github.com/pion/webrtc":         {"media/webrtc"},
			"github.com/pion/ice":            {"media/webrtc"},
			"github.com/pion/interceptor":    {"media/webrtc"},
			"github.com/pion/logging":        {"media/webrtc"},
			"github.com/pion/stun":           nil,
			"github.com/pion/opus":           {"media/opus"},
			"github.com/zaf/g711":            {"media/g711", "internal/wav"},
			"github.com/emiago/sipgo":        {"media/sip"},
			"github.com/gorilla/websocket":   {"guidance/push", "asr/remote/vosk", "media/fork/server", "cmd/sidetone/internal/benchload"},
			"github.com/blevesearch":         {"kb"},
			"github.com/gopacket/gopacket":   {"cmd/sidetone/internal/capture"},
			"github.com/spf13/cobra":         {"cmd/sidetone"},
			"github.com/schollz/progressbar": {"cmd/sidetone/..."},
			"github.com/prometheus":          {"cmd/sidetone/internal/app"},
			"github.com/goccy/go-yaml":       {"internal/yamlfile", "guidance/playbook", "cmd/sidetone/internal/config"},
			"gonum.org/v1/gonum":             {"internal/dsp", "voiceprint/backend"},
			"go.uber.org/goleak":             {"internal/leaktest"},
			"golang.org/x/sys/cpu":           {"internal/nn"},
			"github.com/nats-io":             {"internal/journal/stream"},
			"modernc.org/sqlite":             {"internal/store"},
			"github.com/jackc/pgx":           {"internal/store"},
			"github.com/pressly/goose":       {"internal/store"},
			"golang.org/x/crypto":            {"internal/access/password"},
			"golang.org/x/oauth2":            {"internal/access/oidc"},
			"golang.org/x/term":              {"cmd/sidetone"},
			"golang.org/x/time":              {"internal/access"},
			"github.com/coreos/go-oidc":      {"internal/access/oidc"},
			"filippo.io/age":                 {"internal/seal"},
			"github.com/mewkiz/flac":         {"media/recording"},
			"go.opentelemetry.io":            {"cmd/sidetone/internal/trace"},
			"github.com/beevik/ntp":          {"cmd/sidetone/internal/clock"},
			"github.com/coreos/go-systemd":   {"cmd/sidetone"},
			"gonum.org/v1/plot":              {"bench/load", "bench/voice"},
			"github.com/chromedp":            nil,
			"testing":                        {"internal/leaktest", "internal/needs", "internal/webpage/pagetest", "internal/store/storetest", "asr/asrtest"},
		},
	}
}

func TestTreeKeepsTheRules(t *testing.T) {
	files, err := Load(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("read only %d files: is this the module's root?", len(files))
	}
	for _, line := range house().Check(files) {
		t.Error(line)
	}
}

// The rules are worth having only if each of them can fail.
func TestBreachesAreSeen(t *testing.T) {
	const doc = "// Package x is a test's.\npackage x\n"
	cases := []struct{ name, file, src, want string }{
		{"backwards", "asr/x/x.go", doc + `import _ "sidetone/guidance"`, "asr must not import guidance"},
		{"child of another domain", "guidance/x/x.go", doc + `import _ "sidetone/asr/whisper"`, "only the root package"},
		{"leaf", "internal/x/x.go", doc + `import _ "sidetone/media"`, "is a leaf"},
		{"cmd", "media/x/x.go", doc + `import _ "sidetone/cmd/sidetone/internal/app"`, "imported by none"},
		{"goroutine", "asr/vad/x.go", doc + `func f() { go f() }`, "starts a goroutine"},
		{"clock", "media/jitter/x.go", doc + `import "time"; var t = time.Now()`, "uses time.Now"},
		{"file", "internal/pcm/x.go", doc + `import _ "os"`, "imports os"},
		{"library", "media/port/x.go", doc + `import _ "github.com/blevesearch/bleve/v2"`, "whose home is kb"},
		{"init", "kb/x.go", doc + `func init() {}`, "init function"},
		{"comment", "kb/x/x.go", "package x", "no package comment"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := Parse(c.file, c.file, c.src)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(house().Check([]File{f}), "\n")
			if !strings.Contains(got, c.want) {
				t.Errorf("got %q, want a line with %q", got, c.want)
			}
		})
	}
	ok, err := Parse("guidance/x/x.go", "x.go", doc+`import _ "sidetone/asr"`)
	if err != nil {
		t.Fatal(err)
	}
	if got := house().Check([]File{ok}); len(got) != 0 {
		t.Errorf("the allowed edge is refused: %v", got)
	}
}
