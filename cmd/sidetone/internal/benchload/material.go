package benchload

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"sidetone/bench/load"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/wav"
	"sidetone/media/codec"
	"sidetone/media/g711"
	"sidetone/media/resample"
)

// Material is a call to be played, with what is said in it.
type Material struct {
	load.Script
	// Legs are the agent's and the customer's audio as PCMU, equally long.
	Legs [2][]byte
}

// Length is how long the call lasts.
func (m *Material) Length() time.Duration {
	return time.Duration(len(m.Legs[0])/payloadLen) * packetTime
}

// cut shortens the call.
func (m *Material) cut(to time.Duration) *Material {
	c := *m
	for i := range c.Legs {
		c.Legs[i] = c.Legs[i][:min(len(c.Legs[i]), int(to/packetTime)*payloadLen)]
	}
	return &c
}

// Demo is the built-in call: synthetic voices, and a script that says which
// cards it calls for.
func Demo() (*Material, error) {
	script, err := demo.ReadScript()
	if err != nil {
		return nil, err
	}
	audio, err := demo.Call()
	if err != nil {
		return nil, err
	}
	m := &Material{Script: load.Script{Name: "demo", Cards: true}}
	for _, t := range script.Turns {
		turn := load.Turn{Role: t.Role.String(), Start: t.Start, End: t.End, Text: t.Text}
		for _, c := range t.Cues {
			turn.Intents = append(turn.Intents, c.Intent)
		}
		m.Turns = append(m.Turns, turn)
	}
	return m, m.encode(audio.Rate, audio.Channels[demo.AgentChannel], audio.Channels[demo.CustomerChannel])
}

// Eval are the two-party calls of the evaluation data, from people's voices;
// none where the data are not there.
func Eval(root string) ([]*Material, error) {
	files, err := filepath.Glob(filepath.Join(root, "asr", "calls", "*.wav"))
	if err != nil {
		return nil, err
	}
	var out []*Material
	for _, file := range files {
		m, err := readCall(file)
		if err != nil {
			return nil, fmt.Errorf("call %s: %w", file, err)
		}
		out = append(out, m)
	}
	return out, nil
}

func readCall(file string) (*Material, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	audio, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if len(audio.Channels) != 2 {
		return nil, fmt.Errorf("%d channels, expected agent and customer", len(audio.Channels))
	}
	base := strings.TrimSuffix(file, ".wav")
	m := &Material{Script: load.Script{Name: filepath.Base(base)}}
	if b, err = os.ReadFile(base + ".turns.tsv"); err != nil {
		return nil, err
	}
	if m.Turns, err = readTurns(string(b)); err != nil {
		return nil, err
	}
	return m, m.encode(audio.Rate, audio.Channels...)
}

// readTurns reads tab-separated turns: role, speech_start, speech_end and ref
// are what counts.
func readTurns(text string) ([]load.Turn, error) {
	names := []string{"role", "speech_start", "speech_end", "ref"}
	at := make([]int, len(names))
	var out []load.Turn
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Split(strings.TrimRight(line, "\r"), "\t")
		if n == 0 {
			for i, name := range names {
				if at[i] = slices.Index(f, name); at[i] < 0 {
					return nil, fmt.Errorf("turns: no column %q", name)
				}
			}
			continue
		}
		if len(f) <= slices.Max(at) {
			return nil, fmt.Errorf("turns: line %d has %d fields, too few", n+1, len(f))
		}
		start, err1 := strconv.ParseFloat(f[at[1]], 64)
		end, err2 := strconv.ParseFloat(f[at[2]], 64)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("turns: line %d: %w", n+1, err)
		}
		out = append(out, load.Turn{Role: f[at[0]], Start: seconds(start), End: seconds(end), Text: f[at[3]]})
	}
	return out, nil
}

// TypicalLength is the median length of calls.
func TypicalLength(ms []*Material) time.Duration {
	lengths := make([]time.Duration, 0, len(ms))
	for _, m := range ms {
		lengths = append(lengths, m.Length())
	}
	if len(lengths) == 0 {
		return 0
	}
	slices.Sort(lengths)
	return lengths[len(lengths)/2]
}

// encode makes the legs of samples at a rate.
func (m *Material) encode(rate int, legs ...[]int16) error {
	format, err := codec.Parse("PCMU")
	if err != nil {
		return err
	}
	longest := 0
	for i, x := range legs {
		if x, err = resample.Convert(x, rate, g711.Rate); err != nil {
			return fmt.Errorf("call %s: %w", m.Name, err)
		}
		x = append(x, make([]int16, (payloadLen-len(x)%payloadLen)%payloadLen)...)
		e, err := codec.NewEncoder(format)
		if err != nil {
			return err
		}
		m.Legs[i] = make([]byte, len(x))
		if _, err := e.Encode(m.Legs[i], x); err != nil {
			return fmt.Errorf("call %s: %w", m.Name, err)
		}
		longest = max(longest, len(m.Legs[i]))
	}
	const silence = 0xff // of mu-law
	for i := range m.Legs {
		for len(m.Legs[i]) < longest {
			m.Legs[i] = append(m.Legs[i], silence)
		}
	}
	return nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
