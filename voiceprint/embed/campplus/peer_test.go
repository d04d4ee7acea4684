//go:build unix

package campplus

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sidetone/internal/needs"
	"sidetone/voiceprint"
)

// peer is ONNX Runtime on the same weights, with one thread.
type peer struct {
	w *bufio.Writer
	r *json.Decoder
}

// newPeer starts bench/peers/campplus.py, which must have been prepared.
func newPeer(t *testing.T) *peer {
	t.Helper()
	if os.Getenv("SIDETONE_PEERS") == "" {
		t.Skip("compares with ONNX Runtime: run bench/peers/campplus.py prepare, then set SIDETONE_PEERS=1")
	}
	script := filepath.Join(needs.Root(t), "bench", "peers", "campplus.py")
	c := exec.CommandContext(t.Context(), needs.Program(t, "python3"), script, needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt"))
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	p := &peer{bufio.NewWriter(in), json.NewDecoder(out)}
	var hello struct{ Ready string }
	if err := p.r.Decode(&hello); err != nil {
		t.Fatal(err)
	}
	t.Log("compared with", hello.Ready)
	return p
}

// embed returns the embedding and the processor's time of the network alone.
func (p *peer) embed(t *testing.T, x []float32) (voiceprint.Embedding, time.Duration) {
	t.Helper()
	_, err := p.w.WriteString("{\"samples\": " + strconv.Itoa(len(x)) + "}\n")
	if err == nil {
		err = binary.Write(p.w, binary.LittleEndian, x)
	}
	if err == nil {
		err = p.w.Flush()
	}
	var a struct {
		Embedding voiceprint.Embedding
		CPU       float64
	}
	if err == nil {
		err = p.r.Decode(&a)
	}
	if err != nil || !voiceprint.Unit(a.Embedding) {
		t.Fatalf("no answer: %v", err)
	}
	return a.Embedding, time.Duration(a.CPU * float64(time.Second))
}

// Every recording there is, each as a whole; with -short every tenth.
func TestEmbeddingsOfAllRecordings(t *testing.T) {
	p, e := newPeer(t), load(t, Config{Bare: true})
	var files []string
	root := needs.Eval(t, "voice")
	if err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".wav") {
			rel, _ := filepath.Rel(root, path)
			files = append(files, filepath.ToSlash(rel))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	worst, name, heard := 1.0, "", 0
	for i, f := range files {
		if testing.Short() && i%10 != 0 {
			continue
		}
		x := double(call(t, f))
		want, _ := p.embed(t, x)
		c := voiceprint.Cosine(embed(t, e, x), want)
		if !(c >= 0.9999) {
			t.Errorf("%s: cosine %v", f, c)
		}
		if c < worst {
			worst, name = c, f
		}
		heard++
	}
	t.Logf("%d recordings, the least cosine is 1 - %.2g (%s)", heard, 1-worst, name)
}

// Times are logged, and decide nothing. Ours have the features in them.
func TestSpeedBesideThePeer(t *testing.T) {
	p, e := newPeer(t), load(t, Config{})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	for _, seconds := range []float64{3, 5, 10} {
		x := hum(seconds, 100)
		p.embed(t, x)
		embed(t, e, x)
		ours, theirs := time.Hour, time.Hour
		for range 20 {
			_, d := p.embed(t, x)
			theirs = min(theirs, d)
			before := used()
			embed(t, e, x)
			ours = min(ours, used()-before)
		}
		t.Logf("%v s of speech: %.5f s a second, features included; ONNX Runtime %.5f s without: %.2f times",
			seconds, ours.Seconds()/seconds, theirs.Seconds()/seconds, theirs.Seconds()/ours.Seconds())
	}
}
