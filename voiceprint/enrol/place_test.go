package enrol

import (
	"errors"
	"math"
	"testing"
	"time"

	"sidetone/voiceprint"
)

func template(id, line string, e voiceprint.Embedding, net time.Duration) voiceprint.Template {
	return voiceprint.Template{ID: id, Line: line, Model: testModel.ID, Embedding: e, Made: monday, Source: id, Quality: voiceprint.Quality{Net: net, SNR: 20}}
}

func TestPlace(t *testing.T) {
	c := newCrowd(30)
	p := c.person()
	voice := c.call(p, 0)
	phone := template("1", "phone", c.call(p, 0.7), 30*time.Second)
	other := template("2", "phone", voiceprint.Embedding{1}, 30*time.Second)
	other.Model = "other"
	four := []voiceprint.Template{phone}
	for _, line := range []string{"a", "b", "c"} {
		four = append(four, template(line, line, c.call(p, 0.7), 30*time.Second))
	}
	for name, v := range map[string]struct {
		have []voiceprint.Template
		t    voiceprint.Template
		into string
	}{
		"the first":         {nil, phone, ""},
		"another model":     {[]voiceprint.Template{other}, phone, ""},
		"the same line":     {[]voiceprint.Template{phone}, template("3", "phone", c.call(p, 0.7), 30*time.Second), "1"},
		"another line":      {[]voiceprint.Template{phone}, template("3", "headset", c.call(p, 0.7), 30*time.Second), ""},
		"as good as one":    {[]voiceprint.Template{phone}, template("3", "headset", phone.Embedding, 30*time.Second), "1"},
		"no room for more":  {four, template("3", "headset", four[2].Embedding, 30*time.Second), "b"},
		"the line of four":  {four, template("3", "c", c.call(p, 0.5), 30*time.Second), "c"},
		"no room, not near": {four, template("3", "headset", c.call(p, 0.7), 30*time.Second), "*"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Place(Policy{}, scales{}, v.have, v.t)
			if err != nil {
				t.Fatal(err)
			}
			if v.into == "*" && got.Into != "" {
				v.into = got.Into
			}
			if got.Into != v.into || math.IsNaN(got.Nearest) != (name == "the first" || name == "another model") {
				t.Fatalf("into %q, nearest %v; want %q", got.Into, got.Nearest, v.into)
			}
			if v.into == "" {
				if got.Template.ID != v.t.ID {
					t.Errorf("got %+v", got.Template)
				}
				return
			}
			if got.Template.ID != v.into || got.Template.Quality.Net != time.Minute || got.Template.Source != v.into+"; 3" {
				t.Errorf("got %+v", got.Template)
			}
			if c := voiceprint.Cosine(got.Template.Embedding, voice); c < 0.85 {
				t.Errorf("merged, the cosine to the voice is %v", c)
			}
		})
	}
}

// The longer recording counts for more.
func TestMergeWeighs(t *testing.T) {
	c := newCrowd(31)
	p := c.person()
	old, fresh := template("1", "phone", c.call(p, 1), 30*time.Second), template("2", "phone", c.call(p, 1), 90*time.Second)
	got, err := Place(Policy{Agree: 0.1}, scales{}, []voiceprint.Template{old}, fresh)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := voiceprint.Cosine(got.Template.Embedding, old.Embedding), voiceprint.Cosine(got.Template.Embedding, fresh.Embedding); a >= b {
		t.Errorf("cosines of %v to 30 s and %v to 90 s", a, b)
	}
}

// Nobody adds a voice to a person's who is not the person.
func TestPlaceRefuses(t *testing.T) {
	c := newCrowd(32)
	p := c.person()
	have := []voiceprint.Template{template("1", "phone", c.call(p, 0.7), 30*time.Second)}
	var refusal *RefusalError
	_, err := Place(Policy{}, scales{}, have, template("2", "headset", c.call(c.person(), 1), 30*time.Second))
	if !errors.As(err, &refusal) || refusal.Reasons[0] != Disagrees {
		t.Errorf("a stranger: %v", err)
	}
	_, err = Place(Policy{Agree: 100}, scales{}, have, template("2", "headset", c.call(p, 0.7), 30*time.Second))
	if !errors.As(err, &refusal) || refusal.Reasons[0] != voiceprint.Between {
		t.Errorf("not clear enough: %v", err)
	}
	if _, err := Place(Policy{}, scales{}, have, voiceprint.Template{Model: "other", Embedding: voiceprint.Embedding{1}}); !errors.Is(err, voiceprint.ErrModel) {
		t.Errorf("another model: %v", err)
	}
	if _, err := Place(Policy{Agree: -1}, scales{}, nil, have[0]); err == nil {
		t.Error("a policy that cannot be meant: no error")
	}
}
