package voice

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/needs"
)

const trialLine = "impostor\td057\twav/d057/enrol_tel.wav\twav/d001/test1_tel.wav\t2.5\t3\td001\t1\tchild\tg711"

func TestReadTrials(t *testing.T) {
	got, err := ReadTrials(strings.NewReader(columns+"\r\n"+trialLine+"\r\ntarget\ta\te.wav\tt.wav\t0\t0.25\ta\t0\tadult\tgsm\n"), "tel")
	if err != nil {
		t.Fatal(err)
	}
	want := []Trial{
		{
			Enrolled: "d057", Speaker: "d001", Enrol: "wav/d057/enrol_tel.wav", Test: "wav/d001/test1_tel.wav",
			Start: 2500 * time.Millisecond, Net: 3 * time.Second, SameGender: true, Group: Child, Condition: "tel", Channel: "g711",
		},
		{Target: true, Enrolled: "a", Speaker: "a", Enrol: "e.wav", Test: "t.wav", Net: 250 * time.Millisecond, Group: Adult, Condition: "tel", Channel: "gsm"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// badLines are trials that are refused, with a word of the reason.
func badLines() map[string]string {
	out := map[string]string{"": "1 fields", trialLine + "\tmore": "11 fields"}
	for _, c := range []struct{ from, to, why string }{
		{"impostor", "Impostor", "label"},
		{"impostor", "target", "target kind"},
		{"d057\t", "d001\t", "impostor kind"},
		{"d057\t", "\t", "no name"},
		{"g711", "", "no name"},
		{"2.5", "-1", "start_s"},
		{"2.5", "NaN", "start_s"},
		{"2.5", "", "start_s"},
		{"\t3\t", "\t0\t", "dur_s is 0"},
		{"\t3\t", "\t1e9\t", "dur_s"},
		{"\t1\tchild", "\tyes\tchild", "same_gender"},
		{"child", "elder", "group"},
		{"wav/d057/enrol_tel.wav", "/etc/passwd", "no paths below"},
		{"wav/d001/test1_tel.wav", "../../x.wav", "no paths below"},
		{"wav/d001/test1_tel.wav", ".", "no paths below"},
	} {
		out[strings.Replace(trialLine, c.from, c.to, 1)] = c.why
	}
	return out
}

func TestReadTrialsRefuses(t *testing.T) {
	for line, why := range badLines() {
		_, err := ReadTrials(strings.NewReader(columns+"\n"+trialLine+"\n"+line+"\n"), "")
		if err == nil || !strings.Contains(err.Error(), "line 3") || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: error %v, want one of line 3 about %q", line, err, why)
		}
	}
	for text, why := range map[string]string{
		"":             "there is none",
		columns + "\n": "there is none",
		"label\n":      "line 1",
		columns + "\n" + strings.Repeat("x", 1e5): "token too long",
	} {
		if _, err := ReadTrials(strings.NewReader(text), ""); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%.40q: error %v, want one about %q", text, err, why)
		}
	}
}

func FuzzReadTrials(f *testing.F) {
	f.Add(columns + "\n" + trialLine + "\n")
	for line := range badLines() {
		f.Add(columns + "\n" + line)
	}
	f.Fuzz(func(t *testing.T, s string) {
		trials, err := ReadTrials(strings.NewReader(s), "x")
		if err != nil {
			return
		}
		if len(trials) == 0 {
			t.Fatal("no trial and no error")
		}
		for _, x := range trials {
			if x.Net <= 0 || x.Start < 0 || x.Target != (x.Enrolled == x.Speaker) || strings.HasPrefix(x.Test, "/") || strings.Contains(x.Enrol, "../") {
				t.Fatalf("accepted %+v", x)
			}
		}
	})
}

func TestClaims(t *testing.T) {
	a := Trial{Enrol: "a", Test: "x", Start: time.Second, Net: 2 * time.Second}
	longer, later, other := a, a, a
	longer.Start, longer.Net = 0, 5*time.Second
	later.Start, later.Net = 6*time.Second, time.Second
	other.Enrol = "b"
	got := Claims([]Trial{a, longer, other, later, a})
	if len(got) != 2 || got[0].Net != 7*time.Second || got[0].Start != 0 || got[1].Enrol != "b" || got[1].Net != 3*time.Second {
		t.Errorf("%+v", got)
	}
}

func TestRealLists(t *testing.T) {
	for _, c := range []struct {
		name   string
		claims int
	}{{"tel", 88 + 4248}, {"codec", 88 + 4276}, {"noise", 88 + 4237}} {
		b, err := os.ReadFile(needs.Eval(t, "voice", "trials_"+c.name+".tsv"))
		if err != nil {
			t.Fatal(err)
		}
		trials, err := ReadTrials(bytes.NewReader(b), c.name)
		if err != nil {
			t.Fatal(err)
		}
		targets := 0
		for _, x := range trials {
			if x.Target {
				targets++
			}
		}
		if n := len(trials) - targets; targets != 968 || n != 10326 {
			t.Errorf("%s: %d targets and %d impostors, want 968 and 10326", c.name, targets, n)
		}
		if n := len(Claims(trials)); n != c.claims {
			t.Errorf("%s: %d calls, want %d", c.name, n, c.claims)
		}
	}
}

func TestOneSided(t *testing.T) {
	x := &Trial{Target: true, Enrolled: "a", Speaker: "a"}
	if _, err := NewSet([]Scored{{x, 1}, {x, 2}}); !errors.Is(err, ErrOneSided) {
		t.Errorf("targets only: %v", err)
	}
	if _, err := NewSet(nil); !errors.Is(err, ErrOneSided) {
		t.Errorf("nothing: %v", err)
	}
}
