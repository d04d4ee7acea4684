package spoof

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sidetone/internal/pcm"
	"sidetone/internal/wav"
	"sidetone/media/resample"
)

// recording reads a file at 8 kHz and brings it to 16 kHz.
func recording(t testing.TB, path string) []int16 {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := wav.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	r, err := resample.New(a.Rate, pcm.Rate)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]int16, r.MaxOut(len(a.Channels[0])))
	return out[:r.Process(out, a.Channels[0])]
}

func energy(x []int16) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return 10 * math.Log10(s/float64(len(x))+1)
}

// play gives samples to hear frame by frame; what is more than 30 dB below the loud
// frames, and has been for 120 ms, is no speech.
func play(x []int16, hear func(f *pcm.Frame, speech bool)) {
	const hang = 6
	var levels []float64
	for at := 0; at+pcm.FrameSamples <= len(x); at += pcm.FrameSamples {
		levels = append(levels, energy(x[at:at+pcm.FrameSamples]))
	}
	sorted := slices.Sorted(slices.Values(levels))
	if len(sorted) == 0 {
		return
	}
	quiet := sorted[len(sorted)*9/10] - 30
	var f pcm.Frame
	left := 0
	for i, l := range levels {
		f.Start = int64(i * pcm.FrameSamples)
		copy(f.Samples[:], x[f.Start:])
		if left--; l > quiet {
			left = hang
		}
		hear(&f, left > 0)
	}
}

func measured(t testing.TB, x []int16) (measures, bool) {
	t.Helper()
	m, err := NewMeter()
	if err != nil {
		t.Fatal(err)
	}
	play(x, m.Hear)
	return m.measure()
}

// rates are equal error rate, and the shares of attacks that are not told (APCER)
// and of people that are (BPCER) at the default policy's probability.
func rates(people, attacks []float64) (eer, apcer, bpcer float64) {
	share := func(x []float64, above bool, t float64) float64 {
		n := 0
		for _, v := range x {
			if v >= t == above {
				n++
			}
		}
		return float64(n) / float64(len(x))
	}
	least := math.Inf(1)
	for _, t := range append(slices.Clone(people), attacks...) {
		miss, alarm := share(attacks, false, t), share(people, true, t)
		if d := math.Abs(miss - alarm); d < least {
			least, eer = d, (miss+alarm)/2
		}
	}
	p := DefaultPolicy().Tell
	t := math.Log(p / (1 - p))
	return eer, share(attacks, false, t), share(people, true, t)
}

// TestSpoofTable learns the weights of the cues and prints their error rates by
// attack (ISO/IEC 30107-3), each on speakers and on a synthesiser that it has not
// learnt from. It needs a folder, named by SIDETONE_SPOOF_DIR:
//
//	FAMILY/CORPUS~SPEAKER~CLIP.wav, mono, 8 kHz, 5 to 15 s
//
// FAMILY begins with real, tts or replay and says after a dash how it was treated:
// cut (pauses taken out), whole, or noise (babble and coloured noise at 15 dB).
// CORPUS is a corpus of people or the name of a synthesiser. It was made so:
//
//	real    voice/wav test1_tel, test1_codec (cut) and test1_noise of the evaluation
//	        data as they are; asr/*/wav16 joined to 10 s a clip by speaker
//	tts     sentences of intent/harper.jsonl, two or three a clip, by Kokoro (16
//	        voices), Piper (joe, four settings), festival (HTS slt, diphones kal and
//	        ked), flite (5 voices) and espeak-ng (8 voices)
//	replay  the recordings of real, and the first 15 s of voice/wav enrol_tel,
//	        through a high-pass filter of 250 to 600 Hz and three resonances (±8 dB),
//	        tanh, a room (T60 0.15 to 0.6 s, reverberation 0 to 10 dB below the
//	        direct sound) and noise 20 to 40 dB below
//
// and all but voice/wav then through one telephone, drawn anew for every clip: FIR of
// 220-340 to 3150-3550 Hz, tilt up to 2.5 dB an octave, two bumps up to 4 dB, level -30
// to -20 dB, for half of the clips GSM, AMR 12.2 or 5.9 or G.729, and mu-law.
func TestSpoofTable(t *testing.T) {
	dir := os.Getenv("SIDETONE_SPOOF_DIR")
	if dir == "" {
		t.Skip("SIDETONE_SPOOF_DIR names no folder of attacks")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*~*~*.wav"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings in %s: %v", dir, err)
	}
	var rooms, voices []example
	short := map[string]int{}
	for _, p := range files {
		parts := strings.Split(strings.TrimSuffix(filepath.Base(p), ".wav"), "~")
		e := example{family: filepath.Base(filepath.Dir(p)), corpus: parts[0], speaker: parts[1]}
		x, ok := measured(t, recording(t, p))
		if !ok {
			short[e.family]++
			continue
		}
		kind, _, _ := strings.Cut(e.family, "-")
		e.attack = kind != "real"
		if room := e; kind != "tts" {
			room.x = x.room[:]
			rooms = append(rooms, room)
		}
		if kind != "replay" {
			e.x = x.change[:]
			voices = append(voices, e)
		}
	}
	fmt.Println("too short:", short)
	table(t, Synthetic, voices, synthetic())
	table(t, Loudspeaker, rooms, loudspeaker())
}

const folds = 4

// table prints what a cue reaches, held-out speaker by speaker and attack by attack,
// and the weights learnt from all.
func table(t *testing.T, name Name, data []example, committed weights) {
	t.Helper()
	const ridge = 2
	fold := func(e example) int { return int(crc32.ChecksumIEEE([]byte(e.speaker)) % folds) }
	attacks := map[string]bool{}
	for _, e := range data {
		if e.attack {
			attacks[e.corpus] = true
		}
	}
	fmt.Printf("\n%s (EER %% | APCER, BPCER %% at a probability of %.2f)\n", name, DefaultPolicy().Tell)
	for _, a := range slices.Sorted(maps.Keys(attacks)) {
		scores := map[string][]float64{}
		for f := range folds {
			var learn []example
			for _, e := range data {
				if fold(e) != f && !(e.attack && e.corpus == a) {
					learn = append(learn, e)
				}
			}
			w := train(learn, ridge)
			for _, e := range data {
				if e.attack && e.corpus != a || fold(e) != f {
					continue
				}
				_, how, _ := strings.Cut(e.family, "-")
				key := fmt.Sprint("people ", how)
				if e.attack {
					key = fmt.Sprint("attack ", how)
				} else if e.corpus != "voice" && how == "cut" {
					scores["people others"] = append(scores["people others"], w.llr(e.x))
				}
				scores[key] = append(scores[key], w.llr(e.x))
			}
		}
		fmt.Printf("  %-12s", a)
		for _, c := range [][2]string{{"cut", "cut"}, {"others", "cut"}, {"whole", "whole"}, {"noise", "noise"}} {
			people, attack := scores["people "+c[0]], scores["attack "+c[1]]
			if len(people) == 0 || len(attack) == 0 {
				continue
			}
			eer, apcer, bpcer := rates(people, attack)
			fmt.Printf("  %s (%d/%d) %.1f | %.0f, %.1f", c[0], len(people), len(attack), 100*eer, 100*apcer, 100*bpcer)
		}
		fmt.Println()
	}
	w := train(data, ridge)
	var people, attack []float64
	for _, e := range data {
		if e.attack {
			attack = append(attack, committed.llr(e.x))
		} else {
			people = append(people, committed.llr(e.x))
		}
	}
	fmt.Printf("  learnt: by %.5g, bias %.5g\n", w.by, w.bias)
	eer, apcer, bpcer := rates(people, attack)
	fmt.Printf("  the committed weights on all: %.1f | %.0f, %.1f\n", 100*eer, 100*apcer, 100*bpcer)
	if eer > 0.35 {
		t.Errorf("%s is near chance: EER %.2f", name, eer)
	}
}
