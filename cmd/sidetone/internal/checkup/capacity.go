package checkup

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"sidetone/asr/vad"
	"sidetone/asr/whisper"
	"sidetone/asr/whisper/model"
	"sidetone/cmd/sidetone/internal/benchlive"
	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/demo"
	"sidetone/internal/models"
	"sidetone/internal/pcm"
	"sidetone/media/resample"
)

const (
	// perLeg is the memory that a leg takes: its recogniser's stream, jitter
	// buffer and queue, with the kernel's buffers of its sockets.
	perLeg = 4 << 20
	// full is the share of a core beyond which waits grow fast.
	full = 0.75
	// warm is the time before what is measured counts.
	warm = 3 * time.Second
	// slowLoad is when a start takes long enough to be planned for.
	slowLoad = 20 * time.Second
)

// capacity loads the models and lets the recogniser hear the built-in call.
func capacity(ctx context.Context, c *Config, put add) {
	r := &c.Config.Recognition
	if !r.Uses(config.Whisper) || c.Measure <= 0 {
		return
	}
	begun := time.Now()
	s, err := c.store()
	if err != nil {
		return // models has said so
	}
	m, v, err := load(s, r)
	if err != nil {
		put(Problem, "sidetone models pull", "the models cannot be loaded: %v", err)
		return
	}
	took := time.Since(begun)
	level, advice := OK, ""
	if took > slowLoad {
		level, advice = Warning, "plan for it at restarts, with a second node"
	}
	put(level, advice, "the models are loaded in %v", took.Round(10*time.Millisecond))
	result, err := measure(ctx, c, m, v)
	switch {
	case err != nil:
		put(Problem, "", "the recogniser does not work: %v", err)
		return
	case result.Words == 0 || result.Core <= 0:
		put(Problem, "tell us: the built-in call is easy to hear", "the recogniser heard nothing of the built-in call")
		return
	}
	tell(c, result, put)
}

// tell says what the measurement means.
func tell(c *Config, result benchlive.Result, put add) {
	r := &c.Config.Recognition
	each := full / result.Core
	cores := min(runtime.GOMAXPROCS(0), r.Workers)
	all := int(each * float64(cores))
	text := fmt.Sprintf("a call with both sides takes %.0f %% of a core (%s, %s), words are stable after %.1f s: about %.0f calls a core, %d on %s",
		100*result.Core, r.Model, r.Compute, result.Lag50, each, all, plural(cores, "worker"))
	switch {
	case result.Lag95 > 5 || all < 1:
		put(Problem, "set recognition.compute: int8, choose a smaller model, or another machine", "%s: too slow for live calls", text)
	case all < c.Config.Media.MaxCalls:
		put(Warning, "let recognition.max_partial_wait refuse what is too much; raise recognition.workers, or measure: sidetone bench load",
			"%s; media.max_calls is %d", text, c.Config.Media.MaxCalls)
	default:
		put(OK, "an estimate from one call; sidetone bench load measures", "%s", text)
	}
}

func load(s *models.Store, r *config.Recognition) (*model.Model, *vad.Model, error) {
	compute, err := model.ParseCompute(r.Compute)
	if err != nil {
		return nil, nil, err
	}
	weights, err := s.FS(r.Model)
	if err != nil {
		return nil, nil, err
	}
	m, err := model.Load(weights, model.LoadOptions{Compute: compute})
	if err != nil {
		return nil, nil, err
	}
	if weights, err = s.FS("silero-vad"); err != nil {
		return nil, nil, err
	}
	f, err := weights.Open("silero_vad_16k.safetensors")
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	v, err := vad.Load(f)
	return m, v, err
}

// measure plays the built-in call to an engine of its own, at the pace of speech.
func measure(ctx context.Context, c *Config, m *model.Model, v *vad.Model) (benchlive.Result, error) {
	r := &c.Config.Recognition
	e, err := whisper.New(m, whisper.Config{Workers: 1, PartialEvery: r.PartialEvery})
	if err != nil {
		return benchlive.Result{}, err
	}
	defer e.Close()
	call, err := demo.Call()
	if err != nil {
		return benchlive.Result{}, err
	}
	script, err := demo.ReadScript()
	if err != nil {
		return benchlive.Result{}, err
	}
	var both benchlive.Call
	for i := range both {
		if both[i].Samples, err = resample.Convert(call.Channels[i], call.Rate, pcm.Rate); err != nil {
			return benchlive.Result{}, err
		}
	}
	for _, t := range script.Turns {
		side := demo.AgentChannel
		if t.Role.String() == "customer" {
			side = 1 - demo.AgentChannel
		}
		both[side].Said = append(both[side].Said, benchlive.Said{Start: pcm.Samples(t.Start), End: pcm.Samples(t.End), Text: t.Text})
	}
	stats := e.Stats()
	return benchlive.Run(ctx, benchlive.Config{
		Engine: e, NewDetector: func() (benchlive.Detector, error) { return v.NewDetector(vad.Config{}) },
		Counters: func() benchlive.Counters {
			return benchlive.Counters{Lost: stats.Lost.Load(), Busy: time.Duration(stats.Busy.Load())}
		},
		Warm: warm, Measured: c.Measure, MaxLag: 10 * time.Second, MaxWait: 10 * time.Second,
	}, benchlive.Calls([]benchlive.Call{both}, 1))
}
