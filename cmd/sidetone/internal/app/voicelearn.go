package app

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/voicelearn"
	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/media"
	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	voicestore "sidetone/voiceprint/store"
)

// sidesSpeech is the net speech of a customer's leg from which on it is compared with
// the agent's voice, where theirs is not on their own leg.
const sidesSpeech = 5 * time.Second

// learner learns from calls.
type learner interface {
	Hear(ctx context.Context, c voicelearn.Call, now time.Time) (enrol.Result, error)
	IsVoiceOf(ctx context.Context, subject string, e voiceprint.Embedding, net time.Duration) (bool, error)
}

var _ learner = (*voicelearn.Learner)(nil)

// newLearner makes what learns from calls.
func (k *voiceKit) newLearner(cfg *config.Voice) (*voicelearn.Learner, error) {
	return voicelearn.New(voicelearn.Config{
		People: k.store, Passives: k.store, Followers: k.store, Scorer: k.engine.Scorer, Policy: cfg.Learning(), By: k.system(),
		Passive: cfg.Passive.On, Adapt: cfg.Adapt.On, WatchListed: k.watchListed, Duplicates: k.duplicatesOf,
		Gates: func(q voiceprint.Quality) []voiceprint.Reason {
			limits := k.engine.Rules.Enrolment
			// How much speech a call must have the policy says.
			limits.Net = 0
			return limits.Reasons(q)
		},
	})
}

// learnVoice learns from a customer's leg that is over.
func (c *call) learnVoice(ctx context.Context, l *leg, h *voices.Heard) {
	if c.env.learner == nil || !h.Over || h.Subject == "" {
		return
	}
	c.mu.Lock()
	is := l.role() == media.RoleCustomer && !l.info.Load().Mixed && c.rec.Named == h.Subject
	confirmed := c.rec.Confirmed != ""
	c.mu.Unlock()
	if !is {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepVoice)
	defer cancel()
	now := time.Now()
	r, err := c.env.learner.Hear(ctx, voicelearn.Call{
		Key: c.key, Line: defaultLine, At: now, Subject: h.Subject, Confirmed: confirmed, Gates: h.Gates,
		Embedding: h.Embedding, Quality: h.Quality, Decision: h.Decision,
	}, now)
	if err != nil {
		l.log().Error("nothing is learnt of the customer's voice", "error", err)
		return
	}
	c.env.metrics.voiceLearnt.WithLabelValues(string(r.Verdict)).Inc()
	switch {
	case r.Alert:
		l.log().Warn("a voice is not enrolled before security has looked", "reasons", r.Reasons, "others", len(r.Others))
	case r.Verdict == enrol.Ignored:
		l.log().Debug("nothing is learnt of the voice", "reasons", r.Reasons)
	default:
		l.log().Info("learnt of the customer's voice", "verdict", r.Verdict, "reasons", r.Reasons)
	}
}

// ownSubject is as whom the agent on a leg may be enrolled; empty: nobody knows who
// it is. The caller holds mu.
func (c *call) ownSubject(l *leg) string {
	name, agents := c.info.Agent, 0
	for _, o := range c.legs {
		if !o.ended && o.role() == media.RoleAgent {
			agents++
		}
	}
	if agents > 1 {
		name = agentName(l.info.Load())
	}
	if name == "" || name == nobody {
		return ""
	}
	return agentSubject + name
}

// isAgent says whether somebody is an agent rather than a customer.
func isAgent(subject string) bool { return strings.HasPrefix(subject, agentSubject) }

// crossing is an agent's leg without the agent's voice, and the customer's with it.
type crossing struct{ agent, customer *leg }

// sides are the legs whose voices may be each other's, and who the agent is. The
// caller holds mu.
func (c *call) sides() (x crossing, agent string) {
	for _, l := range c.legs {
		switch {
		case l.ended:
		case l.role() == media.RoleAgent && l.ownVoice == voiceprint.Mismatch && l.expected != nil && isAgent(*l.expected):
			x.agent, agent = l, *l.expected
		case l.role() == media.RoleCustomer && l.heardVoice != nil:
			x.customer = l
		}
	}
	return x, agent
}

// hearSides keeps the voice of a customer's leg while the call runs, and looks whose
// it is.
func (c *call) hearSides(ctx context.Context, l *leg, h *voices.Heard) {
	if c.env.learner == nil || h.Over || len(h.Gates) > 0 || h.Quality.Net < sidesSpeech {
		return
	}
	c.mu.Lock()
	l.heardVoice = h
	c.mu.Unlock()
	c.compareSides(ctx)
}

// compareSides looks whether agent and customer are heard on each other's legs. Only
// where the agent's leg does not carry the agent's voice the customer's is compared
// with it, and nothing is kept of that but what it says of the legs.
func (c *call) compareSides(ctx context.Context) {
	c.mu.Lock()
	x, agent := c.sides()
	if x.agent == nil || x.customer == nil {
		c.mu.Unlock()
		return
	}
	h := x.customer.heardVoice
	c.mu.Unlock()
	is, err := c.env.learner.IsVoiceOf(ctx, agent, h.Embedding, h.Quality.Net)
	if err != nil {
		c.log.Error("the agent's voice cannot be looked for on the customer's leg", "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now, _ := c.sides(); c.rec.Ended != nil || now != x || is == (c.crossed == x) {
		return
	}
	c.crossed = crossing{}
	if is {
		c.crossed = x
		x.agent.log().Warn("the agent's voice is on the customer's leg")
	}
	c.reconsider()
}

// crossedVoices is what the voices say against a leg's role; empty is nothing. The
// caller holds mu.
func (c *call) crossedVoices(l *leg, role media.Role) string {
	switch {
	case l == c.crossed.agent && role == media.RoleAgent:
		return "voices: it is not the agent's voice, which is on the other leg"
	case l == c.crossed.customer && role == media.RoleCustomer:
		return "voices: it is the agent's voice"
	}
	return ""
}

// passiveReply is how far a passive enrolment has come.
type passiveReply struct {
	Phase     string   `json:"phase"`
	Calls     int      `json:"calls"`
	Conflicts int      `json:"conflicts"`
	Reasons   []string `json:"reasons"`
}

// passiveOf is how far the passive enrolment of a person has come; nil where nothing is
// remembered.
func (a *App) passiveOf(ctx context.Context, by voicestore.Actor, customer string) (*passiveReply, error) {
	s, version, err := a.voices.store.Passive(ctx, by, customer)
	if err != nil || version == 0 {
		return nil, err
	}
	return &passiveReply{Phase: string(s.Phase), Calls: len(s.Calls), Conflicts: s.Conflicts, Reasons: append([]string{}, words(s.Reasons)...)}, nil
}

// renewOf says why a person should be enrolled anew.
func (a *App) renewOf(ctx context.Context, by voicestore.Actor, customer string, h *voicestore.History) ([]string, error) {
	out := []string{}
	for _, t := range h.Templates {
		if !t.Live || !t.Active || t.Model != a.voices.engine.Embedder.Model().ID {
			continue
		}
		v, _, err := a.voices.store.Followed(ctx, by, customer, t.ID)
		if err != nil {
			return nil, err
		}
		for _, r := range a.voices.learner.Renew(v, t.Made, h.Used, time.Now()) {
			if !slices.Contains(out, string(r)) {
				out = append(out, string(r))
			}
		}
	}
	return out, nil
}

// resetPassive has the passive enrolment of a person begin anew.
func (a *App) resetPassive(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	return nil, a.voices.store.ResetPassive(r.Context(), by, customer)
}

// rollbackTemplate has a template be again what it was in an earlier version.
func (a *App) rollbackTemplate(r *http.Request, by voicestore.Actor) (any, error) {
	customer, err := customerOf(r)
	if err != nil {
		return nil, err
	}
	if err = a.voices.store.Rollback(r.Context(), by, customer, r.PathValue("id")); err != nil {
		return nil, err
	}
	a.calls.voiceChanged(customer)
	return nil, nil //nolint:nilnil // there is nothing to answer
}
