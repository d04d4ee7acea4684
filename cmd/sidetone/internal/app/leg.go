package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"sidetone/asr"
	"sidetone/asr/text"
	"sidetone/asr/vad"
	"sidetone/asr/written"
	"sidetone/cmd/sidetone/internal/voiceguard"
	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/guidance"
	"sidetone/guidance/push"
	"sidetone/guidance/speaker"
	"sidetone/internal/journal"
	"sidetone/internal/pcm"
	"sidetone/internal/queue"
	"sidetone/media"
	"sidetone/media/recording"
	"sidetone/voiceprint"
)

const (
	// legQueue is how many frames may wait between the media path and a leg's
	// worker: 1 s.
	legQueue = 50
	// finishLimit bounds the wait for the last finals of a leg.
	finishLimit = 30 * time.Second
)

// leg joins one leg's audio to its recogniser and its call. The media path
// calls it as a media.LegSink; a worker of its own does the rest.
type leg struct {
	call *call
	id   string
	// info is replaced as a whole when more becomes known.
	info  atomic.Pointer[media.Leg]
	queue *queue.Queue[pcm.Frame]
	// fixed says that somebody chose the role by hand; ended, that no more audio
	// comes. Both are guarded by call.mu.
	fixed, ended bool
	// told is what the source says, as info was before a decision on its role.
	told      media.Leg
	conflicts []string
	// known are the conflicts without those by what is said.
	known []string
	// ear weighs what is said on the leg; verdict is for whom it speaks,
	// disputed says that it is against the role, and doubt is what the pane is
	// told of that. All are guarded by call.mu.
	ear      *speaker.Ear
	verdict  speaker.Verdict
	disputed bool
	doubt    string
	state    push.LegState
	quality  *push.Quality
	// voice hears whose voice it is; nil: nobody does. expected is who it should be,
	// nil before that was asked; looks are the scores since then, and verdictVoice is
	// what the pane shows of it. The last three are guarded by call.mu.
	voice *voices.Leg
	// talks belongs to the worker.
	talks        bool
	expected     *string
	looks        []look
	verdictVoice *push.Voice
	// ownVoice is what is known of the voice of an agent, ownEnrolled that they are
	// enrolled, heardVoice the
	// voice as far as it was heard, voiceDoubt that the pane is told of the agent's on a
	// customer's leg. All are guarded by call.mu.
	ownVoice    voiceprint.Outcome
	ownEnrolled bool
	heardVoice  *voices.Heard
	voiceDoubt  bool
	// guard looks for signs of spoofing, signs are those that the last decision was kept
	// with, and compared its id; they belong to the goroutine that listens for the voice.
	guard    *voiceguard.Guard
	signs    []signReply
	compared string
	// stats is how the leg fares while it runs, base how many utterances its name
	// has had before. Both are guarded by call.mu.
	stats *journal.LegStats
	base  int

	detector *vad.Detector
	stream   asr.Stream
	// language is that of the speech; empty: it is found out.
	language string
	// redactor is guarded by call.mu, since it overhears the other legs.
	redactor text.Redactor

	// offset is when the leg's clock began on the call's clock, in
	// nanoseconds; it is set before the first frame is queued.
	offset atomic.Int64
	// begun is set once audio has come, spoke once words were heard.
	begun, spoke atomic.Bool
	// track is the leg in the call's recording; nil: there is none.
	track *recording.Leg

	// The rest belongs to the worker.
	heard     int64 // end of the newest frame
	utterance int
	stable    int
	silent    pcm.Frame // for the media path alone
	before    media.LegStats
}

var _ media.LegSink = (*leg)(nil)

// Frame implements media.LegSink.
func (l *leg) Frame(f *pcm.Frame) {
	if l.call.paused.Load() {
		// Silence in its place: time goes on.
		l.silent.Start, l.silent.Flags = f.Start, pcm.Inserted
		f = &l.silent
	}
	if l.track != nil {
		l.track.Frame(f)
	}
	l.queue.Push(f)
}

func (l *leg) role() media.Role { return l.info.Load().Role }

// Mark implements media.LegSink.
func (l *leg) Mark(m media.Mark) {
	switch m.Kind {
	case media.MarkStarted:
		l.offset.Store(int64(m.Wall.Sub(l.call.info.Started) - pcm.Duration(m.At)))
		l.begun.Store(true)
		if l.track != nil {
			l.track.Place(time.Duration(l.offset.Load()), l.role())
		}
		l.call.live(l)
	case media.MarkStalled:
		l.log().Info("leg stalled: no packets", "at", pcm.Duration(m.At))
		l.show(push.LegWaiting)
	case media.MarkResumed:
		l.log().Info("leg resumed", "at", pcm.Duration(m.At))
		l.show(push.LegLive)
	case media.MarkSSRCChanged:
		l.log().Info("leg changed its source", "at", pcm.Duration(m.At))
	case media.MarkDigit:
		l.log().Debug("telephone digit", "at", pcm.Duration(m.At))
		l.call.digit(m)
	case media.MarkHeld:
		l.log().Info("leg on hold", "at", pcm.Duration(m.At))
		l.show(push.LegHeld)
	case media.MarkUnheld:
		l.log().Info("leg no longer on hold", "at", pcm.Duration(m.At))
		l.show(push.LegLive)
	case media.MarkDiscarded:
		l.log().Warn("the source lost audio", "at", pcm.Duration(m.At))
	}
}

// End implements media.LegSink.
func (l *leg) End(e media.End, s media.LegStats) {
	c := l.call
	c.mu.Lock()
	over := l.ended
	l.ended = true
	c.mu.Unlock()
	if over {
		return
	}
	c.legEnded(l, e, s)
	l.show(push.LegEnded)
	if l.track != nil {
		l.track.End()
	}
	l.queue.Close()
}

func (l *leg) show(s push.LegState) {
	c := l.call
	c.mu.Lock()
	defer c.mu.Unlock()
	l.state = s
	c.showLeg(l)
}

func (l *leg) log() *slog.Logger { return l.call.log.With("leg", l.id) }

// work carries frames to the recogniser until the leg ends and its last words
// are known.
func (l *leg) work(ctx context.Context) {
	c := l.call
	defer func() {
		if l.voice != nil {
			c.turn(&l.talks, false)
			l.voice.End()
		}
		if err := l.stream.Close(); err != nil {
			l.log().Error("closing the recogniser's stream", "error", err)
		}
		// Whoever still knows the leg must not hold its audio.
		l.stream, l.detector = nil, nil
	}()
	var f pcm.Frame
	for l.queue.Pop(ctx, &f) {
		l.heard = f.End()
		edges := l.detector.Accept(&f)
		if l.voice != nil {
			speaks := l.detector.Probability() >= voices.SpeechProb
			l.voice.Frame(&f, speaks, c.turn(&l.talks, speaks))
		}
		hs, err := l.stream.Accept(&f, edges)
		l.hear(hs, true)
		if err != nil {
			l.log().Error("recognition failed; the leg is no longer transcribed", "error", err)
			l.drain(ctx)
			return
		}
	}
	ctx, cancel := context.WithTimeout(ctx, finishLimit)
	defer cancel()
	hs, err := l.stream.Finish(ctx)
	l.hear(hs, false)
	if err != nil {
		l.log().Error("the last words were not recognised", "error", err)
	}
}

// drain waits for the leg's end when its audio is of no more use.
func (l *leg) drain(ctx context.Context) {
	var f pcm.Frame
	for l.queue.Pop(ctx, &f) {
	}
}

// hear passes hypotheses on. While audio still comes, live, their lag against
// it is measured.
func (l *leg) hear(hs []asr.Hypothesis, live bool) {
	for i := range hs {
		h := &hs[i]
		if live {
			l.measure(h)
		}
		*h = l.call.hear(l, *h)
		if h.Final && len(h.Words) > 0 {
			l.spoke.Store(true)
		}
	}
}

// final is what is kept of a final.
func (l *leg) final(h *asr.Hypothesis) journal.Final {
	f := journal.Final{
		Leg: l.id, Role: l.role().String(), Utterance: h.Utterance, Revision: h.Revision,
		StartMS: l.ms(h.Start), EndMS: l.ms(h.End), Text: h.Text(), Words: make([]journal.Word, len(h.Words)),
	}
	if w := written.Render(h.Words, spans(h, l.language)); w != f.Text {
		f.Written = w
	}
	for i, w := range h.Words {
		f.Words[i] = journal.Word{Text: w.Text, StartMS: l.ms(w.Start), EndMS: l.ms(w.End), Confidence: w.Confidence, Joined: w.Joined}
	}
	return f
}

// measure keeps the lag of a hypothesis: of a final against the end of its
// speech, and of each word that has become stable against the word's end.
func (l *leg) measure(h *asr.Hypothesis) {
	m := l.call.env.metrics
	if h.Utterance != l.utterance {
		l.utterance, l.stable = h.Utterance, 0
	}
	for ; l.stable < h.Stable; l.stable++ {
		m.wordLag.Observe(seconds(pcm.Duration(l.heard - h.Words[l.stable].End)))
	}
	kind := "partial"
	if h.Final {
		kind = "final"
		m.finalLag.Observe(seconds(pcm.Duration(l.heard - h.End)))
	}
	m.hypotheses.WithLabelValues(kind, l.role().String()).Inc()
}

// ms places a sample of the leg on the call's clock, in milliseconds.
func (l *leg) ms(sample int64) int64 {
	return (time.Duration(l.offset.Load()) + pcm.Duration(sample)).Milliseconds()
}

func (l *leg) guidance() guidance.Leg {
	return guidance.Leg{ID: l.id, Role: l.role().String(), Offset: time.Duration(l.offset.Load())}
}

func (l *leg) shown(h *asr.Hypothesis) push.Utterance {
	u := push.Utterance{
		Leg: l.id, Role: l.role().String(), No: h.Utterance, Revision: h.Revision, Final: h.Final, Stable: h.Stable,
		StartMS: l.ms(h.Start), EndMS: l.ms(h.End), Words: make([]push.Word, len(h.Words)),
	}
	for i, w := range h.Words {
		u.Words[i] = push.Word{Text: w.Text, StartMS: l.ms(w.Start), EndMS: l.ms(w.End)}
	}
	write(u.Words, h, spans(h, l.language))
	return u
}
