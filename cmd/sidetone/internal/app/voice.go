package app

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/guidance/push"
	"sidetone/internal/access"
	"sidetone/internal/journal"
	"sidetone/media"
	"sidetone/voiceprint"
)

// keepVoice bounds how long what was decided may take to be kept.
const keepVoice = 10 * time.Second

// comparisons keep what was decided on voices.
type comparisons interface {
	// Compared keeps a decision and gives its id; empty: it may not be kept.
	Compared(ctx context.Context, c comparison) (string, error)
	// Amended sets the signs of spoofing of a decision.
	Amended(ctx context.Context, id string, signs []signReply) error
}

// comparison is a decision and how it came to be.
type comparison struct {
	call, leg string
	at        time.Time
	answer    voices.Answer
	looks     []look
	signs     []signReply
}

// look is one score on the way to a decision.
type look struct {
	NetMS int64   `json:"net_ms"`
	LLR   float64 `json:"llr"`
	// Accept is the threshold for so much speech.
	Accept float64 `json:"accept"`
}

func (l look) net() time.Duration { return time.Duration(l.NetMS) * time.Millisecond }

// evidence is what a decision in the journal can be defended with. Nothing of the
// voice is in it.
type evidence struct {
	LLR         float64            `json:"llr"`
	Accept      float64            `json:"accept"`
	Reject      float64            `json:"reject"`
	FAR         float64            `json:"far"`
	TookMS      int64              `json:"took_ms"`
	Model       string             `json:"model"`
	Calibration string             `json:"calibration"`
	Quality     map[string]float64 `json:"quality,omitempty"`
	Looks       []look             `json:"looks,omitempty"`
	// Signs are those of spoofing, which may have vetoed and are never in the LLR.
	Signs []signReply `json:"signs,omitempty"`
	Final bool        `json:"final"`
}

func newEvidence(a *voices.Answer, looks []look, signs []signReply) evidence {
	d := &a.Decision
	e := evidence{
		LLR: d.LLR, Accept: d.Accept, Reject: d.Reject, FAR: d.FAR, TookMS: a.Took.Milliseconds(),
		Model: d.Info.Model.ID, Calibration: d.Info.Calibration, Quality: measures(&d.Quality), Looks: looks, Signs: signs, Final: d.Final,
	}
	return e
}

// hearVoice begins to listen for whose voice a leg carries.
func (c *call) hearVoice(l *leg) {
	if c.env.ear == nil {
		return
	}
	var last voices.Answer
	h := voices.Hooks{
		Tell: func(a voices.Answer) {
			last = a
			c.voiceTold(l, a)
		},
		Wants: func(ctx context.Context, over bool) bool { return c.wantsVoice(ctx, l, over) },
		Heard: func(ctx context.Context, h voices.Heard) { c.voiceHeard(ctx, l, h) },
	}
	if g := c.guardVoice(l); g != nil {
		l.guard, h.Guard = g, g
	}
	v, err := c.env.ear.Listen(l.log(), h)
	if err != nil {
		l.log().Error("the voice cannot be compared", "error", err)
		return
	}
	l.voice = v
	c.workers.Go(func() {
		v.Run(c.ctx)
		c.voiceOver(l, &last)
	})
}

// voiceHeard takes the voice of a leg as far as it was heard.
func (c *call) voiceHeard(ctx context.Context, l *leg, h voices.Heard) {
	c.searchVoice(ctx, l, &h)
	c.hearSides(ctx, l, &h)
	c.learnVoice(ctx, l, &h)
}

// turn says whether a leg speaks now, where was is what it did before, and reports
// whether another does.
func (c *call) turn(was *bool, speaks bool) (other bool) {
	if speaks != *was {
		n := int32(-1)
		if speaks {
			n = 1
		}
		c.speaking.Add(n)
		*was = speaks
	}
	n := c.speaking.Load()
	return n > 1 || n == 1 && !speaks
}

// expectVoices says who each running leg should be. The caller holds mu.
func (c *call) expectVoices() {
	for _, l := range c.legs {
		if l.ended || l.voice == nil {
			continue
		}
		subject := c.subject(l)
		if l.expected != nil && *l.expected == subject || l.expected == nil && subject == "" {
			continue
		}
		l.expected = &subject
		l.looks, l.ownVoice = nil, voiceprint.Inconclusive
		l.voice.Expect(subject)
	}
}

// subject is who is said to speak on a leg; empty: nobody knows. The caller holds mu.
func (c *call) subject(l *leg) string {
	switch l.role() {
	case media.RoleAgent:
		return c.ownSubject(l)
	case media.RoleCustomer:
	default:
		return ""
	}
	if c.rec.Named != "" {
		return c.rec.Named
	}
	if c.env.cfg.Voice.ByNumber {
		return l.info.Load().Identity
	}
	return ""
}

// nameCustomer says who the customer is. What was confirmed stays so while the same
// one is named.
func (c *call) nameCustomer(n journal.Named) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rec.Ended != nil || c.rec.Named == n.Customer && (n.Confirmed == "" || n.Confirmed == c.rec.Confirmed) {
		return
	}
	c.emit(journal.CustomerNamed, n)
	c.expectVoices()
}

// voiceTold takes an answer on a leg's voice.
func (c *call) voiceTold(l *leg, a voices.Answer) {
	d := &a.Decision
	c.mu.Lock()
	if l.expected == nil || *l.expected != a.Subject || l.ended && !d.Final {
		c.mu.Unlock()
		return
	}
	if d.Scores > len(l.looks) {
		l.looks = append(l.looks, look{NetMS: d.Net.Milliseconds(), LLR: d.LLR, Accept: d.Accept})
	}
	shown := shownVoice(d)
	own := isAgent(a.Subject)
	if own {
		// The agent is shown nothing of their own voice.
		shown = nil
		l.ownVoice, l.ownEnrolled = d.Outcome, !d.Final || d.Scores > 0
	}
	if d.Final && !(own && d.Scores == 0) {
		l.signs, l.compared = l.seen(), ""
		c.emitVoice(l, &a)
		c.env.metrics.voiceDecided(&a, own)
		l.log().Info("voice decided", "outcome", d.Outcome.String(), "reasons", d.Reasons, "net", d.Net, "took", a.Took.Round(time.Millisecond))
	}
	if !sameVoice(l.verdictVoice, shown) {
		l.verdictVoice = shown
		c.showLeg(l)
	}
	kept := comparison{call: c.key, leg: l.id, at: time.Now(), answer: a, looks: l.looks, signs: l.signs}
	c.mu.Unlock()
	if own && c.env.learner != nil {
		c.compareSides(c.ctx)
	}
	if !d.Final || d.Scores == 0 || c.env.comparisons == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), keepVoice)
	defer cancel()
	id, err := c.env.comparisons.Compared(ctx, kept)
	if err != nil {
		c.log.Error("a decision on a voice could not be kept; the journal has it", "error", err)
	}
	l.compared = id
}

// emitVoice puts a decision into the journal. The caller holds mu.
func (c *call) emitVoice(l *leg, a *voices.Answer) {
	d := &a.Decision
	whole, err := json.Marshal(newEvidence(a, l.looks, l.signs))
	if err != nil {
		c.log.Error("the evidence of a decision on a voice cannot be written", "error", err)
	}
	c.emit(journal.VoiceDecided, journal.Voice{
		Leg: l.id, Decision: d.Outcome.String(), NetMS: d.Net.Milliseconds(), Reasons: words(d.Reasons), Whole: whole,
	})
}

// shownVoice is what the agent sees; nil where there was nobody to compare with.
func shownVoice(d *voiceprint.Decision) *push.Voice {
	for _, r := range d.Reasons {
		switch r {
		case voiceprint.NotEnrolled, voiceprint.NoConsent, voiceprint.OptedOut:
			return nil
		}
	}
	return &push.Voice{Outcome: d.Outcome.String(), Reasons: words(d.Reasons), Final: d.Final}
}

func sameVoice(a, b *push.Voice) bool {
	if a == nil || b == nil {
		return a == b
	}
	// While it listens the reasons change with each look; nobody is told of them.
	return a.Outcome == b.Outcome && a.Final == b.Final && (!a.Final || slices.Equal(a.Reasons, b.Reasons))
}

func words(reasons []voiceprint.Reason) []string {
	var out []string
	for _, r := range reasons {
		out = append(out, string(r))
	}
	return out
}

// checkCustomer keeps the names of customers, and of what confirmed them, harmless;
// those that begin with "agent:" are the agents' own.
func checkCustomer(s, confirmed string) error {
	if err := checkName("customer", s, true); err != nil {
		return err
	}
	if err := checkName("confirmed", confirmed, true); err != nil {
		return err
	}
	if confirmed != "" && s == "" {
		return badRequest("", "confirmed: %q, but nobody is named as the customer", confirmed)
	}
	if isAgent(s) {
		return badRequest("leave the prefix out", "customer: %q names an agent", s)
	}
	return nil
}

// agentSubject is before the name of an agent whose own voice is enrolled.
const agentSubject = "agent:"

// putCustomer says who the customer of a running call is.
func (a *App) putCustomer() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		a.command(func(c *call, q command) error {
			if err := checkCustomer(q.Customer, q.Confirmed); err != nil {
				return err
			}
			c.nameCustomer(journal.Named{Customer: q.Customer, Confirmed: q.Confirmed, By: access.From(r.Context()).Actor()})
			return nil
		})(w, r)
	}
}

// voiceChanged has the running legs that should be a customer's compared anew: there
// are other templates, or there may be none any more.
func (cs *calls) voiceChanged(customer string) {
	cs.mu.Lock()
	order := slices.Clone(cs.order)
	cs.mu.Unlock()
	for _, c := range order {
		c.mu.Lock()
		for _, l := range c.legs {
			if !l.ended && l.voice != nil && l.expected != nil && *l.expected == customer {
				l.looks, l.ownVoice = nil, voiceprint.Inconclusive
				l.voice.Expect(customer)
			}
		}
		c.mu.Unlock()
	}
}
