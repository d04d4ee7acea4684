package app

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/access"
	"sidetone/internal/audit"
	"sidetone/internal/journal"
	"sidetone/internal/pcm"
	"sidetone/media"
)

func recordAll(dir string) func(*config.Config) {
	return func(c *config.Config) {
		c.Storage.Dir, c.Server.Node = dir, "n1"
		c.Recording.Calls, c.Recording.Format = config.RecordAll, "wav"
	}
}

// loud gives both legs a second of 1000 and -2000, from a place on their clocks on.
func loud(agent, customer *leg, from time.Duration) {
	var a, c pcm.Frame
	for i := range a.Samples {
		a.Samples[i], c.Samples[i] = 1000, -2000
	}
	for i := range int64(50) {
		a.Start = pcm.Samples(from) + i*pcm.FrameSamples
		c.Start = a.Start
		agent.Frame(&a)
		customer.Frame(&c)
	}
}

// begun is a call of two legs whose audio begins with the call.
func begun(t *testing.T, r *running, id string) (c *call, agent, customer *leg) {
	t.Helper()
	// It began a while ago, so that there is a time before its pause.
	c = open(t, r, media.Call{ID: id, Agent: "ann", Source: "siprec", Started: time.Now().Add(-time.Second)})
	agent = addLeg(t, c, media.Leg{ID: "1", Role: media.RoleAgent, RoleReason: "trunk"})
	customer = addLeg(t, c, media.Leg{ID: "2", Role: media.RoleCustomer, RoleReason: "trunk", Identity: "sip:+493011@x"})
	for _, l := range []*leg{agent, customer} {
		l.Mark(media.Mark{Kind: media.MarkStarted, Wall: c.info.Started})
	}
	return c, agent, customer
}

// sides are the samples of a WAV file, each side by itself.
func sides(t *testing.T, b []byte) (out [2][]int16) {
	t.Helper()
	_, data, ok := bytes.Cut(b, []byte("data"))
	if !ok || !bytes.HasPrefix(b, []byte("RIFF")) {
		t.Fatalf("no WAV: %.60q", b)
	}
	for data = data[4:]; len(data) >= 4; data = data[4:] {
		out[0] = append(out[0], int16(binary.LittleEndian.Uint16(data)))
		out[1] = append(out[1], int16(binary.LittleEndian.Uint16(data[2:])))
	}
	return out
}

func TestRecording(t *testing.T) {
	dir := t.TempDir()
	r := host(t, recordAll(dir))
	c, agent, customer := begun(t, r, "one")
	loud(agent, customer, 0)
	if st := r.do(t, "GET", "/v1/calls/one/recording", "", nil); st != 409 {
		t.Errorf("while the call runs: status %d", st)
	}
	// What is heard while nothing is to be heard is not kept.
	c.Pause("card data")
	loud(agent, customer, time.Second)
	if !c.swap("swapped by a test") {
		t.Fatal("the roles cannot be swapped")
	}
	end := media.End{State: media.Ended, Reason: "BYE", At: time.Now()}
	c.End(end)
	rec := r.wait(t, "one", "recorded", func(rec journal.Call) bool { return rec.Recording != nil })
	k := rec.Recording
	if !rec.Record || k.Format != "wav" || k.DurationMS != 2000 || k.LostMS != 0 || k.Problem != "" || k.Bytes == 0 ||
		len(k.Left) != 1 || k.Left[0] != "1" || len(k.Right) != 1 || k.Right[0] != "2" {
		t.Errorf("%+v", k)
	}
	if rec.Legs[0].Role != "customer" {
		t.Errorf("legs %+v", rec.Legs)
	}
	status, header, body := r.ask(t, "GET", "/v1/calls/"+rec.Key+"/recording", "")
	if status != 200 || header.Get("Content-Type") != "audio/wav" || header.Get("Accept-Ranges") != "bytes" {
		t.Fatalf("status %d, %v", status, header)
	}
	got := sides(t, body)
	for i := range got[0] {
		a, b := int16(1000), int16(-2000)
		if i >= pcm.Rate {
			a, b = 0, 0
		}
		if got[0][i] != a || got[1][i] != b {
			t.Fatalf("sample %d: %d, %d; want %d, %d", i, got[0][i], got[1][i], a, b)
		}
	}
	q, err := http.NewRequestWithContext(t.Context(), "GET", r.URL()+"/v1/calls/one/recording?download", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Range", "bytes=1000-1999")
	res, err := r.client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	part, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != 206 || !bytes.Equal(part, body[1000:2000]) || res.Header.Get("Content-Disposition") != `attachment; filename="`+rec.Key+`.wav"` {
		t.Errorf("a range: status %d, %d bytes, %v, %v", res.StatusCode, len(part), res.Header, err)
	}
	// Who listened and who saved stands in the audit log, once each.
	r.ask(t, "GET", "/v1/calls/one/recording", "")
	r.ask(t, "HEAD", "/v1/calls/one/recording", "")
	entries, err := r.storage.audit.List(t.Context(), audit.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	heard := map[string]int{}
	for _, e := range entries {
		if e.Object == rec.Key {
			heard[e.Action]++
		}
	}
	if heard["recording.played"] != 1 || heard["recording.saved"] != 1 {
		t.Errorf("audit: %v", heard)
	}

	// A call without sound leaves nothing.
	c, _, _ = begun(t, r, "silent")
	c.End(end)
	c.wait(t.Context())
	if st := r.do(t, "GET", "/v1/calls/silent/recording", "", nil); st != 410 && st != 409 {
		t.Errorf("a call without sound: status %d", st)
	}
	if st := r.do(t, "GET", "/v1/calls/none/recording", "", nil); st != 404 {
		t.Errorf("no call: status %d", st)
	}
	if st := r.do(t, "POST", "/v1/erase", `{"call":"one","reason":"asked"}`, nil); st != 200 {
		t.Errorf("erasing: status %d", st)
	}
	for e, err := range r.storage.recordings.store.All() {
		t.Errorf("there is still %+v, %v", e, err)
	}
}

func TestWhichCallsAreRecorded(t *testing.T) {
	yes, no := true, false
	for _, c := range []struct {
		calls             string
		unsaid, wish, not bool
	}{{config.RecordNone, false, false, false}, {config.RecordAll, true, true, false}, {config.RecordByCall, false, true, false}} {
		r := &recordings{calls: c.calls}
		if r.wanted(nil) != c.unsaid || r.wanted(&yes) != c.wish || r.wanted(&no) != c.not {
			t.Errorf("%s: %v, %v, %v", c.calls, r.wanted(nil), r.wanted(&yes), r.wanted(&no))
		}
	}
	var none *recordings
	if none.wanted(&yes) || none.check(&yes) == nil || none.check(&no) != nil || none.check(nil) != nil {
		t.Error("a server without recordings promises some")
	}
	r := host(t, nil)
	if st := r.do(t, "POST", "/v1/calls", `{"agent":"ann","record":true,"legs":[{"role":"agent"}]}`, nil); st != 400 {
		t.Errorf("record: true where nothing is recorded: status %d", st)
	}
	c := open(t, r, media.Call{ID: "one", Agent: "ann"})
	c.End(media.End{State: media.Ended, At: time.Now()})
	c.wait(t.Context())
	if st := r.do(t, "GET", "/v1/calls/one/recording", "", nil); st != 404 {
		t.Errorf("a call that was not recorded: status %d", st)
	}
}

// What a lost server has recorded is finished by the one that comes after it.
func TestRecordingOfALostServer(t *testing.T) {
	dir := t.TempDir()
	key := leave(t, dir, "n1", "gone")
	first := built(t, deaf, recordAll(t.TempDir()))
	rec, err := first.storage.recordings.store.Begin(key)
	if err != nil {
		t.Fatal(err)
	}
	l := rec.AddLeg("1")
	l.Place(0, media.RoleCustomer)
	f := pcm.Frame{Samples: [pcm.FrameSamples]int16{5}}
	for range 100 {
		l.Frame(&f)
		f.Start += pcm.FrameSamples
	}
	for written := false; !written; time.Sleep(time.Millisecond) {
		for e := range first.storage.recordings.store.All() {
			written = written || e.Bytes > 0
		}
	}
	// The log comes to lie where the lost server would have left it.
	move(t, first.storage.dir, dir)
	if _, err = rec.Close(nil); err != nil {
		t.Fatal(err)
	}
	if err = first.Close(); err != nil {
		t.Fatal(err)
	}
	r := host(t, func(c *config.Config) {
		recordAll(dir)(c)
		c.Media.Reconnect = 10 * time.Millisecond
	})
	r.wait(t, "gone", "given up", func(rec journal.Call) bool { return rec.Closed })
	if err = r.calls.finishLeft(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := r.wait(t, "gone", "recorded", func(rec journal.Call) bool { return rec.Recording != nil })
	if got.Recording.DurationMS < 1000 || got.Recording.Problem == "" || got.Recording.Right[0] != "1" {
		t.Errorf("%+v", got.Recording)
	}
	if st, _, b := r.ask(t, "GET", "/v1/calls/gone/recording", ""); st != 200 || len(sides(t, b)[1]) < pcm.Rate {
		t.Errorf("status %d, %d bytes", st, len(b))
	}
	// Retention takes it.
	if err = r.storage.recordings.expire(t.Context(), r.storage, []string{key}); err != nil {
		t.Fatal(err)
	}
	if st := r.do(t, "GET", "/v1/calls/"+key+"/recording", "", nil); st == 200 {
		t.Error("an expired recording is played")
	}
}

func TestWhoMayListen(t *testing.T) {
	rec := &journal.Call{Call: "c", Agent: "ann"}
	person := func(agents []string, roles ...access.Role) access.Principal {
		return access.Principal{Kind: access.Person, Name: "x", Roles: roles, Agents: agents}
	}
	for name, c := range map[string]struct {
		who          access.Principal
		listen, save int
	}{
		"no login required": {access.Anyone(), 0, 0},
		"nobody":            {access.Principal{}, 404, 404},
		"the agent":         {person([]string{"ann"}, access.Agent), 0, 403},
		"another agent":     {person([]string{"bob"}, access.Agent), 404, 404},
		"supervisor":        {person(nil, access.Supervisor), 0, 0},
		"security":          {person(nil, access.Security), 0, 0},
		"integrator":        {person(nil, access.Integrator), 404, 404},
	} {
		for save, want := range map[bool]int{false: c.listen, true: c.save} {
			err := mayListen(c.who, rec, save)
			var e *apiError
			got := 0
			if errors.As(err, &e) {
				got = e.Status
			}
			if got != want {
				t.Errorf("%s, save %v: %v", name, save, err)
			}
		}
	}
}

// move brings recordings and keys from one storage folder into another.
func move(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".part" && filepath.Ext(path) != ".age-key" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
