package app

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"sidetone/asr"
	"sidetone/asr/vad"
	"sidetone/guidance/push"
	"sidetone/guidance/speaker"
	"sidetone/internal/journal"
	"sidetone/internal/pcm"
	"sidetone/internal/queue"
	"sidetone/media"
	"sidetone/media/roles"
)

// nobody is the pane of calls whose agent is not known.
const nobody = "unassigned"

var _ media.CallSink = (*call)(nil)

// AddLeg implements media.CallSink.
func (c *call) AddLeg(info media.Leg) (media.LegSink, error) {
	l := &leg{call: c, id: info.ID, queue: queue.New[pcm.Frame](legQueue), language: c.language, state: push.LegWaiting, told: info}
	l.ear = speaker.NewEar(c.env.playbook.Speakers)
	l.info.Store(&info)
	var err error
	if l.detector, err = c.env.vad.NewDetector(vad.Config{}); err != nil {
		return nil, err
	}
	l.stream, err = c.env.recogniser.NewStream(c.ctx, asr.StreamConfig{
		Call: c.info.ID, Leg: info.ID, Language: c.language, Phrases: c.env.recogniser.phrases(c.info.Phrases),
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err = c.join(l, info); err != nil {
		if closed := l.stream.Close(); closed != nil {
			c.log.Error("closing the recogniser's stream", "error", closed)
		}
		return nil, err
	}
	c.hearVoice(l)
	c.expectVoices()
	c.workers.Go(func() { l.work(c.ctx) })
	return l, nil
}

// join puts a leg among the call's. The caller holds mu.
func (c *call) join(l *leg, info media.Leg) error {
	switch {
	case info.ID == "":
		return fmt.Errorf("call %q: a leg needs a name", c.info.ID)
	case c.rec.Ended != nil:
		return fmt.Errorf("call %q has ended; leg %q comes too late", c.info.ID, info.ID)
	}
	for _, o := range c.legs {
		if o.id == info.ID && !o.ended {
			return fmt.Errorf("call %q, leg %q: %w", c.info.ID, info.ID, media.ErrDuplicate)
		}
	}
	c.legs = append(c.legs, l)
	l.base = c.utterances[info.ID]
	if c.recorder != nil {
		l.track = c.recorder.AddLeg(info.ID)
	}
	c.decide()
	return nil
}

// UpdateLeg implements media.CallSink. A role that somebody chose by hand stays.
func (c *call) UpdateLeg(info media.Leg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.running(info.ID)
	if l == nil {
		return
	}
	l.told = info
	c.decide()
}

// decide finds out the roles of the running legs and tells everybody. What was
// chosen by hand stays. The caller holds mu.
func (c *call) decide() {
	var running []*leg
	var told []media.Leg
	for _, l := range c.legs {
		if l.ended {
			continue
		}
		t := l.told
		if old := l.info.Load(); l.fixed {
			t.Role, t.RoleReason = old.Role, old.RoleReason
		}
		running, told = append(running, l), append(told, t)
	}
	decisions := roles.Decide(c.env.roles, c.info, told)
	known := make([][]string, len(decisions))
	heard := make([]roles.Heard, len(decisions))
	for i, l := range running {
		if l.fixed {
			decisions[i].Role, decisions[i].Reason = told[i].Role, told[i].RoleReason
		}
		known[i], heard[i] = decisions[i].Conflicts, l.speaks()
	}
	roles.Weigh(decisions, heard)
	disputed, crossed := false, false
	for i, d := range decisions {
		l, info := running[i], told[i]
		if !l.fixed {
			info.Role, info.RoleReason = d.Role, d.Reason
		}
		if !slices.Equal(l.known, known[i]) {
			l.known = known[i]
			// The record tells the reasons, which may name people; the log does not.
			if len(known[i]) > 0 {
				l.log().Warn("the leg's role is in doubt", "role", info.Role, "conflicts", len(known[i]))
			}
		}
		l.conflicts = d.Conflicts
		l.dispute(len(d.Conflicts) > len(known[i]), d)
		disputed = disputed || l.disputed
		if why := c.crossedVoices(l, info.Role); why != "" {
			l.conflicts = append(slices.Clone(l.conflicts), why)
			crossed = true
		}
		l.info.Store(&info)
	}
	suggest(running, disputed, crossed)
	for _, l := range running {
		c.describe(l)
	}
	c.expectVoices()
}

// running finds the leg of that name that has not ended. The caller holds mu.
func (c *call) running(id string) *leg {
	for _, l := range c.legs {
		if l.id == id && !l.ended {
			return l
		}
	}
	return nil
}

// describe writes what is known of a leg to the record and to the pane, which
// is that of the agent who is heard on it. The caller holds mu.
func (c *call) describe(l *leg) {
	info := l.info.Load()
	now := journal.Leg{
		ID: l.id, Role: info.Role.String(), RoleReason: info.RoleReason, Conflicts: l.conflicts, Fixed: l.fixed,
		Identity: info.Identity, Name: info.Name, Label: info.Label, Mixed: info.Mixed,
	}
	if !slices.ContainsFunc(c.rec.Legs, func(o journal.Leg) bool {
		o.Address, o.Codec, o.Port, o.PayloadType, o.Stats = "", "", 0, 0, nil
		return reflect.DeepEqual(o, now)
	}) {
		c.emit(journal.LegChanged, now)
	}
	if info.Role == media.RoleAgent && !c.named {
		if agent := agentName(info); agent != "" && agent != c.info.Agent {
			c.present(agent)
		}
	}
	c.showLeg(l)
}

// present puts the call on an agent's pane, from another one's if need be. The
// caller holds mu.
func (c *call) present(agent string) {
	hub := c.env.hub
	var err error
	if c.shown {
		err = hub.Move(c.info.ID, agent, time.Now())
	} else {
		shown := push.Call{ID: c.info.ID, Agent: agent, Started: c.info.Started}
		for _, l := range c.legs {
			shown.Legs = append(shown.Legs, l.pushed())
		}
		err = hub.CallStarted(shown)
	}
	if err != nil {
		c.log.Error("showing the call", "error", err)
		return
	}
	if c.info.Agent != "" && c.info.Agent != agent {
		c.log.Info("another agent has the call")
	}
	c.shown, c.info.Agent = true, agent
	if c.rec.Agent != agent {
		c.emit(journal.CallAssigned, journal.Assigned{Agent: agent})
	}
}

// showLeg brings the pane up to date. The caller holds mu.
func (c *call) showLeg(l *leg) {
	if c.shown {
		c.env.hub.Leg(c.info.ID, l.pushed())
	}
}

func (l *leg) pushed() push.Leg {
	info := l.info.Load()
	return push.Leg{
		ID: l.id, Role: info.Role.String(), RoleReason: info.RoleReason, Identity: info.Identity, State: l.state,
		Quality: l.quality, Doubt: l.doubt, DoubtVoice: l.voiceDoubt, Voice: l.verdictVoice,
	}
}

var _ media.StatsSink = (*leg)(nil)

// Stats implements media.StatsSink: the record, the pane and the metrics show
// how the leg fares while it runs.
func (l *leg) Stats(s media.LegStats) {
	q := quality(&s, &l.before, l.spoke.Load())
	l.before = s
	c := l.call
	c.mu.Lock()
	defer c.mu.Unlock()
	l.stats = newLegStats(s, l.queue.Dropped())
	if q.Poor != "" && (l.quality == nil || l.quality.Poor != q.Poor) {
		l.log().Warn("the leg's audio is poor", "what", q.Poor, "loss_pct", q.Loss, "concealed_pct", q.Concealed, "jitter_ms", q.JitterMS,
			"level_dbfs", q.Level, "clipped_pct", q.Clipped)
	}
	l.quality = q
	c.showLeg(l)
}

const (
	// From these on recognition suffers: losses and lateness in percent of the
	// packets, the level of speech in dBFS, samples cut off in percent.
	poorLoss, poorLate, poorLevel, poorClipping = 3, 3, -45, 0.5
	// enoughSpeech is how many frames of speech tell its level.
	enoughSpeech = 100
	// longSpeech is how many tell that a leg is too quiet though no word was heard:
	// the noise of a line in which nobody has spoken yet looks like quiet speech.
	longSpeech = 1000
)

// quality is how a leg has fared since before; spoken tells that words were heard
// on it.
func quality(s, before *media.LegStats, spoken bool) *push.Quality {
	share := func(now, then, allNow, allThen uint64) float64 {
		if allNow <= allThen || now < then {
			return 0
		}
		return 100 * float64(now-then) / float64(allNow-allThen)
	}
	q := &push.Quality{
		Loss:      share(s.Lost, before.Lost, s.Received+s.Lost, before.Received+before.Lost),
		Concealed: share(s.ConcealedFrames, before.ConcealedFrames, s.Quality.Frames, before.Quality.Frames),
		JitterMS:  float64(s.Jitter) / float64(time.Millisecond),
		Clipped:   share(s.Quality.Clipped, before.Quality.Clipped, s.Quality.Frames*pcm.FrameSamples, before.Quality.Frames*pcm.FrameSamples),
	}
	if s.Quality.SpeechFrames > 0 {
		q.Level = s.Quality.Level
	}
	switch {
	case q.Loss >= poorLoss:
		q.Poor = "loss"
	case share(s.Late, before.Late, s.Received+s.Late, before.Received+before.Late) >= poorLate:
		q.Poor = "late"
	case q.Clipped >= poorClipping:
		q.Poor = "clipping"
	case s.Quality.SpeechFrames >= enoughSpeech && q.Level < poorLevel && (spoken || s.Quality.SpeechFrames >= longSpeech):
		q.Poor = "level"
	}
	return q
}

// live is told that a leg's audio has begun. A call that is on nobody's pane by
// then gets one where somebody may look for it.
func (c *call) live(l *leg) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.shown {
		c.present(nobody)
	}
	l.state = push.LegLive
	c.showLeg(l)
}

// agentName makes the name of a pane of an agent's address: the part before the
// @, or the display name.
func agentName(l *media.Leg) string {
	user := l.Identity
	if _, rest, ok := strings.Cut(user, ":"); ok {
		user = rest
	}
	user, _, _ = strings.Cut(user, "@")
	user, _, _ = strings.Cut(user, ";")
	if user == "" {
		user = l.Name
	}
	user = strings.Map(func(r rune) rune {
		if checkName("", "a"+string(r), false) != nil {
			return '-'
		}
		return r
	}, user)
	if checkName("", user, false) != nil {
		return ""
	}
	return user
}

// located keeps where a leg's audio arrives, and how it is coded.
func (c *call) located(l journal.Located) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emit(journal.LegLocated, l)
}

// setRole gives a leg a role by hand.
func (c *call) setRole(id string, role media.Role, reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.running(id)
	if l == nil {
		return false
	}
	c.fix(l, role, reason)
	c.reconsider()
	return true
}

// swap makes the agent's legs the customer's and the customer's the agent's.
func (c *call) swap(reason string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	swapped := false
	for _, l := range c.legs {
		other := map[media.Role]media.Role{media.RoleAgent: media.RoleCustomer, media.RoleCustomer: media.RoleAgent}[l.role()]
		if !l.ended && other != media.RoleUnknown {
			c.fix(l, other, reason)
			swapped = true
		}
	}
	if swapped {
		c.reconsider()
	}
	return swapped
}

// fix sets a role for good. The caller holds mu.
func (c *call) fix(l *leg, role media.Role, reason string) {
	info := *l.info.Load()
	info.Role, info.RoleReason = role, reason
	l.info.Store(&info)
	l.fixed = true
	l.log().Info("role set", "role", role)
	// The agent's pane stays where it is: the person at it has not changed.
	named := c.named
	c.named = true
	c.describe(l)
	c.named = named
}

// Pause implements media.CallSink.
func (c *call) Pause(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec.Ended != nil || c.paused.Swap(true) {
		return
	}
	if c.recorder != nil {
		c.recorder.Pause(time.Since(c.info.Started))
	}
	c.emit(journal.CallPaused, journal.Pause{MS: c.now(), Reason: reason})
	c.log.Info("paused: nothing is heard")
	if c.shown {
		c.env.hub.Paused(c.info.ID, reason)
	}
}

// Resume implements media.CallSink.
func (c *call) Resume(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resume(reason)
}

// resume ends a pause, if there is one. The caller holds mu.
func (c *call) resume(reason string) {
	if !c.paused.Swap(false) {
		return
	}
	if c.recorder != nil {
		c.recorder.Resume(time.Since(c.info.Started))
	}
	c.emit(journal.CallResumed, journal.Pause{MS: c.now(), Reason: reason})
	c.log.Info("resumed")
	if c.shown {
		c.env.hub.Paused(c.info.ID, "")
	}
}

// now is the time on the call's clock, in milliseconds.
func (c *call) now() int64 { return time.Since(c.info.Started).Milliseconds() }

const (
	// maxFacts and maxFact bound what a source may tell of a call: the number of
	// facts and the bytes of each name and value.
	maxFacts = 64
	maxFact  = 1024
)

// Describe implements media.CallSink.
func (c *call) Describe(facts map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	news := map[string]string{}
	for k, v := range facts {
		_, known := c.rec.Facts[k]
		v = strings.ToValidUTF8(v[:min(len(v), maxFact)], "")
		if (known || len(c.rec.Facts)+len(news) < maxFacts) && len(k) <= maxFact && c.rec.Facts[k] != v {
			news[k] = v
		}
	}
	if len(news) > 0 {
		c.emit(journal.CallDescribed, journal.Described{Facts: news})
	}
}

// End implements media.CallSink. Legs that still run end with the call. A call
// whose fork was lost waits for it to come back.
func (c *call) End(e media.End) {
	if e.State == media.Lost && c.suspend(e) {
		return
	}
	c.end(e)
}

func (c *call) end(e media.End) {
	c.mu.Lock()
	if c.rec.Ended != nil {
		c.mu.Unlock()
		return
	}
	c.lost = nil
	c.resume("the call is over")
	c.emit(journal.CallEnded, journal.Ended{State: e.State.String(), Reason: e.Reason, At: c.at(e.At)})
	c.mu.Unlock()
	c.endLegs(e)
	close(c.over)
}

// endLegs ends the legs that still run, and those who brought some of them.
func (c *call) endLegs(e media.End) {
	c.mu.Lock()
	legs, guests := slices.Clone(c.legs), c.guests
	c.guests = nil
	c.mu.Unlock()
	for _, hangUp := range guests {
		hangUp(e)
	}
	for _, l := range legs {
		l.End(e, media.LegStats{})
	}
}

// digits gathers the keys that somebody presses.
type digits struct {
	last time.Time
	keys string
}

// pressed is how long a sequence of keys may stand between two of them.
const pressed = 3 * time.Second

// digit follows the keys that are pressed on the call, for the sequences that
// pause and resume it.
func (c *call) digit(m media.Mark) {
	cfg := c.env.cfg.Media
	if m.Digit == 0 || cfg.PauseKeys == "" && cfg.ResumeKeys == "" {
		return
	}
	c.mu.Lock()
	d := &c.digits
	if m.Wall.Sub(d.last) > pressed {
		d.keys = ""
	}
	d.last = m.Wall
	longest := max(len(cfg.PauseKeys), len(cfg.ResumeKeys))
	d.keys += string(rune(m.Digit))
	d.keys = d.keys[max(0, len(d.keys)-longest):]
	ends := func(keys string) bool { return keys != "" && strings.HasSuffix(d.keys, keys) }
	pause := ends(cfg.PauseKeys) && !c.paused.Load()
	resume := ends(cfg.ResumeKeys) && !pause
	if pause || resume {
		d.keys = ""
	}
	c.mu.Unlock()
	switch {
	case pause:
		c.Pause("telephone keys")
	case resume:
		c.Resume("telephone keys")
	}
}

// wait waits until the call has its end state, or for ctx.
func (c *call) wait(ctx context.Context) {
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}
