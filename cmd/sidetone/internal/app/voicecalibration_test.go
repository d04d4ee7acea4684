package app

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/needs"
	voicestore "sidetone/voiceprint/store"
)

// The page of the security team reads the whole table of thresholds, and who did what
// to whose voice; that it was read stands in the log, too.
func TestVoicePageReads(t *testing.T) {
	needs.Model(t, "campplus-speaker", "campplus_cn_en_common.pt")
	r := startWith(t, deaf, func(c *config.Config) { c.Voice.On = true })

	var table calibrationReply
	if st := r.do(t, http.MethodGet, "/v1/voice/calibration", "", &table); st != http.StatusOK {
		t.Fatalf("the calibration: %d", st)
	}
	if !table.BuiltIn || table.Trained.Calibration == "" || table.Trained.Date == "" {
		t.Errorf("it was trained on %+v, built in: %v", table.Trained, table.BuiltIn)
	}
	o := &r.voices.engine.Params.Operating
	if len(table.Points) != len(o.Points) || len(table.Points) < 3 || table.Targets != o.Targets || table.Impostors != o.Impostors || len(table.LooksMS) != len(o.Looks) || table.LimitMS != o.Policy.Limit.Milliseconds() {
		t.Errorf("the table is %+v, of %+v", table, o)
	}
	first, last := table.Points[0], table.Points[len(table.Points)-1]
	if in := table.InUse; !(in.FalseAccepts < first.FalseAccepts && in.FalseAccepts > last.FalseAccepts && in.Threshold > first.Threshold && in.Threshold < last.Threshold) ||
		math.Abs(in.FalseAccepts-r.calls.env.cfg.Voice.FAR) > 1e-12 {
		t.Errorf("in use is %+v, between %+v and %+v", in, first, last)
	}

	for i, accept := range table.Accepts {
		if i > 0 && accept.Threshold > table.Accepts[i-1].Threshold || accept.NetMS != table.LooksMS[i] || accept.Threshold > table.InUse.Threshold {
			t.Errorf("what a match takes rises: %+v", table.Accepts)
		}
	}
	if len(table.Accepts) == 0 || table.Accepts[0].Threshold != table.InUse.Threshold {
		t.Errorf("a match takes %+v, in use is %+v", table.Accepts, table.InUse)
	}

	for _, customer := range []string{"one", "two"} {
		consent := `{"state":"consented","text":"3","language":"en","channel":"branch","how":"signed"}`
		if st := r.do(t, http.MethodPost, "/v1/voice/people/"+customer+"/consent", consent, nil); st != http.StatusCreated {
			t.Fatalf("consent: %d", st)
		}
	}
	type page struct {
		Entries []auditReply
		Next    uint64
	}
	list := func(query string) (p page) {
		t.Helper()
		if st := r.do(t, http.MethodGet, "/v1/voice/audit"+query, "", &p); st != http.StatusOK {
			t.Fatalf("the audit log: %d", st)
		}
		return p
	}
	actions := func(p page) (all []string) {
		for _, e := range p.Entries {
			all = append(all, e.Action)
		}
		return all
	}
	id, err := r.voices.store.Pseudonym("one")
	if err != nil {
		t.Fatal(err)
	}
	one := list("?customer=one")
	if got := actions(one); !slices.Equal(got, []string{"voice.listed", "voice.consent"}) {
		t.Errorf("of one there is %q", got)
	}
	for _, e := range one.Entries {
		if e.Object != voicestore.Object(id) || e.Actor != "anybody:anybody" || e.At.IsZero() || e.Address == "" {
			t.Errorf("entry %+v", e)
		}
	}
	if d := one.Entries[0].Detail; d["what"] != "audit" {
		t.Errorf("the reading is told as %v", d)
	}
	all := list("")
	if got := actions(all); !slices.Equal(got, []string{"voice.listed", "voice.listed", "voice.consent", "voice.consent"}) || all.Next != 0 {
		t.Errorf("of all there is %q, next %d", got, all.Next)
	}
	for _, e := range all.Entries {
		if !strings.HasPrefix(e.Action, "voice.") {
			t.Errorf("what is no matter of voices: %+v", e)
		}
	}
	// Page by page it is the same, but for the readings of it.
	var paged []uint64
	for next := all.Entries[0].Seq + 1; next != 0; {
		p := list("?limit=1&before=" + strconv.FormatUint(next, 10))
		if len(p.Entries) == 1 {
			paged = append(paged, p.Entries[0].Seq)
		}
		next = p.Next
	}
	if len(paged) != len(all.Entries) || paged[0] != all.Entries[0].Seq || paged[3] != all.Entries[3].Seq {
		t.Errorf("page by page: %v", paged)
	}
	for _, bad := range []string{"?limit=0", "?limit=201", "?before=x", "?before=0", "?before=-1"} {
		if st := r.do(t, http.MethodGet, "/v1/voice/audit"+bad, "", nil); st != http.StatusBadRequest {
			t.Errorf("%s: %d", bad, st)
		}
	}
}
