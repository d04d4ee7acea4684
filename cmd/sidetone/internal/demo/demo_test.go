package demo

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sidetone/internal/wav"
	"sidetone/kb"
	"sidetone/kb/retailbank"
	"sidetone/media"
)

func load(t *testing.T) (Script, *wav.Audio) {
	t.Helper()
	s, err := ReadScript()
	if err != nil {
		t.Fatal(err)
	}
	a, err := Call()
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

// cut is the part of a leg between two times.
func cut(a *wav.Audio, channel int, from, to time.Duration) []int16 {
	at := func(d time.Duration) int {
		return min(max(int(d.Milliseconds())*a.Rate/1000, 0), a.Samples())
	}
	return a.Channels[channel][at(from):at(to)]
}

// level is the RMS in dB relative to full scale.
func level(x []int16) float64 {
	var sum float64
	for _, s := range x {
		sum += float64(s) * float64(s)
	}
	return 10 * math.Log10(sum/float64(len(x))/(32768*32768))
}

func channel(r media.Role) int {
	if r == media.RoleAgent {
		return AgentChannel
	}
	return CustomerChannel
}

func TestCallIsTelephoneAudioOfTheRightLength(t *testing.T) {
	_, a := load(t)
	if a.Rate != 8000 || len(a.Channels) != 2 {
		t.Errorf("rate %d Hz, %d channels, want 8000 and 2", a.Rate, len(a.Channels))
	}
	if d := a.Duration(); d < 90*time.Second || d > 120*time.Second {
		t.Errorf("the call lasts %v, want 90 s to 120 s", d)
	}
	if len(recording) >= 1_000_000 {
		t.Errorf("the recording has %d bytes, want less than 1,000,000", len(recording))
	}
}

func TestCallIsTheSameEveryTime(t *testing.T) {
	_, a := load(t)
	_, b := load(t)
	for c := range a.Channels {
		if !slices.Equal(a.Channels[c], b.Channels[c]) {
			t.Errorf("channel %d differs between two calls", c)
		}
	}
	a.Channels[AgentChannel][0]++
	if a.Channels[AgentChannel][0] == b.Channels[AgentChannel][0] {
		t.Error("two calls share samples")
	}
}

func TestTurnsAreInOrderAndSpokenAtAHumanPace(t *testing.T) {
	s, a := load(t)
	if len(s.Turns) < 12 {
		t.Fatalf("%d turns, want a conversation", len(s.Turns))
	}
	overlaps := 0
	for i, turn := range s.Turns {
		if turn.Start < 0 || turn.End <= turn.Start || turn.End > a.Duration() {
			t.Errorf("turn %d lies at %v to %v of a call of %v", i, turn.Start, turn.End, a.Duration())
		}
		words := len(strings.Fields(turn.Text))
		if pace := float64(words) / (turn.End - turn.Start).Seconds(); pace < 1 || pace > 4.5 {
			t.Errorf("turn %d: %.1f words a second in %q", i, pace, turn.Text)
		}
		for _, before := range s.Turns[:i] {
			if turn.Start < before.Start {
				t.Errorf("turn %d begins at %v, before an earlier one at %v", i, turn.Start, before.Start)
			}
			if turn.Start < before.End {
				if turn.Role == before.Role {
					t.Errorf("turn %d: %v talks over themselves", i, turn.Role)
				}
				overlaps++
			}
		}
	}
	if overlaps == 0 {
		t.Error("nobody ever talks over the other; people do")
	}
}

// The script's times must be those of the sound: speech inside every turn, up
// to its edges, and nothing but the line's noise outside.
func TestTurnsMatchTheSound(t *testing.T) {
	s, a := load(t)
	const edge = 100 * time.Millisecond
	for i, turn := range s.Turns {
		ch := channel(turn.Role)
		for _, part := range [][2]time.Duration{{turn.Start, turn.Start + edge}, {turn.End - edge, turn.End}} {
			if l := level(cut(a, ch, part[0], part[1])); l < -58 {
				t.Errorf("turn %d: %.0f dB at %v, want speech", i, l, part[0])
			}
		}
	}
	for _, role := range []media.Role{media.RoleAgent, media.RoleCustomer} {
		var from time.Duration
		for _, turn := range s.Turns {
			if turn.Role != role {
				continue
			}
			checkNoise(t, role, cut(a, channel(role), from, turn.Start-time.Millisecond), from)
			from = turn.End + edge // the customer's room dies away
		}
		checkNoise(t, role, cut(a, channel(role), from, a.Duration()), from)
	}
}

func checkNoise(t *testing.T, role media.Role, gap []int16, at time.Duration) {
	t.Helper()
	if l := level(gap); l < -68 || l > -58 {
		t.Errorf("%v: %.0f dB at %v, want the line's noise", role, l, at)
	}
}

func TestVoicesDifferInLevelAndNeverClip(t *testing.T) {
	s, a := load(t)
	speech := map[media.Role][]int16{}
	for _, turn := range s.Turns {
		speech[turn.Role] = append(speech[turn.Role], cut(a, channel(turn.Role), turn.Start, turn.End)...)
	}
	agent, customer := level(speech[media.RoleAgent]), level(speech[media.RoleCustomer])
	if agent < -27 || agent > -18 || customer < -32 || customer > -22 {
		t.Errorf("agent %.1f dB, customer %.1f dB, want ordinary telephone levels", agent, customer)
	}
	if agent-customer < 2 {
		t.Errorf("agent %.1f dB, customer %.1f dB, want the headset louder", agent, customer)
	}
	for c, leg := range a.Channels {
		if peak := max(slices.Max(leg), -slices.Min(leg)); peak > 32000 {
			t.Errorf("channel %d peaks at %d", c, peak)
		}
	}
}

// A telephone line passes 300 to 3400 Hz.
func TestSpeechIsBandLimited(t *testing.T) {
	s, a := load(t)
	for _, turn := range s.Turns {
		if turn.End-turn.Start < 2*time.Second {
			continue
		}
		x := cut(a, channel(turn.Role), turn.Start, turn.End)
		inside, below, above := band(x, 500, 1500), band(x, 40, 140), band(x, 3750, 3950)
		if below > inside-25 || above > inside-25 {
			t.Errorf("%q: %.0f dB at 40 to 140 Hz, %.0f dB at 500 to 1500 Hz, %.0f dB at 3750 to 3950 Hz", turn.Text, below, inside, above)
		}
	}
}

// band is the mean power in dB of a few frequencies between two, by Goertzel's
// recurrence over 100 ms frames of 8 kHz.
func band(x []int16, low, high float64) float64 {
	const frame, bins = 800, 8
	var sum float64
	for i := 0; i+frame <= len(x); i += frame {
		for b := range bins {
			f := low + (high-low)*float64(b)/(bins-1)
			k := 2 * math.Cos(2*math.Pi*f/8000)
			var s1, s2 float64
			for j, v := range x[i : i+frame] {
				hann := 1 - math.Cos(2*math.Pi*(float64(j)+0.5)/frame)
				s1, s2 = hann*float64(v)+k*s1-s2, s1
			}
			sum += s1*s1 + s2*s2 - k*s1*s2
		}
	}
	return 10 * math.Log10(sum)
}

func TestCuesStandInTheCustomersWords(t *testing.T) {
	s, _ := load(t)
	known, err := kb.Load(retailbank.Files())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for i, turn := range s.Turns {
		from := 0
		for _, cue := range turn.Cues {
			at := strings.Index(turn.Text[from:], cue.Phrase)
			if at < 0 || cue.Phrase == "" || cue.Intent == "" {
				t.Errorf("turn %d: cue %+v is not in, or not in its order in, %q", i, cue, turn.Text)
				continue
			}
			if !slices.ContainsFunc(known, func(e kb.Element) bool { return slices.Contains(e.Intents, cue.Intent) }) {
				t.Errorf("turn %d: the bank's knowledge has nothing for the intent %q", i, cue.Intent)
			}
			from += at
			found[cue.Intent] = true
		}
		if len(turn.Cues) > 0 && turn.Role != media.RoleCustomer {
			t.Errorf("turn %d: a cue in the agent's words", i)
		}
	}
	if len(found) < 4 {
		t.Errorf("cues for %d intents, want a lost card, its replacement, a fee and an opening for an offer at least", len(found))
	}
}

func TestTheCallHoldsWhatABankMayNotForget(t *testing.T) {
	s, _ := load(t)
	var agent strings.Builder
	for _, turn := range s.Turns {
		if turn.Role == media.RoleAgent {
			agent.WriteString(turn.Text + " ")
		}
		digits := 0
		for _, r := range turn.Text {
			if r >= '0' && r <= '9' {
				digits++
			}
		}
		if digits >= 8 {
			t.Errorf("%q holds a long number", turn.Text)
		}
	}
	for _, want := range []string{s.Bank, s.Agent, "recorded", "full name", "postcode"} {
		if !strings.Contains(agent.String(), want) {
			t.Errorf("the agent never says %q", want)
		}
	}
}

// Whoever hears the customer's voice needs enough of it, and a stranger's as well.
func TestVoicesOfTheDemo(t *testing.T) {
	for name, c := range map[string]struct {
		read        func() (*wav.Audio, error)
		channels    int
		least, most time.Duration
	}{
		"stranger":  {Stranger, 2, 25 * time.Second, 60 * time.Second},
		"enrolment": {Enrolment, 1, 25 * time.Second, 60 * time.Second},
	} {
		a, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		if a.Rate != 8000 || len(a.Channels) != c.channels || a.Duration() < c.least || a.Duration() > c.most {
			t.Errorf("%s: %d Hz, %d channels, %v", name, a.Rate, len(a.Channels), a.Duration())
		}
		voice := a.Channels[len(a.Channels)-1]
		if l := level(voice); l < -35 || l > -20 {
			t.Errorf("%s: level %.1f dBFS", name, l)
		}
	}
}
