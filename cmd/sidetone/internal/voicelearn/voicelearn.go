// Package voicelearn learns from calls: it enrols customers by what they say on calls
// on which another factor has confirmed who they are, has templates follow voices that
// change slowly, and tells when the agent's enrolled voice is on the other leg. The
// rules are those of voiceprint/enrol; here they meet what is kept.
package voicelearn

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"sidetone/voiceprint"
	"sidetone/voiceprint/enrol"
	"sidetone/voiceprint/store"
)

// People are those who may be enrolled.
type People interface {
	State(ctx context.Context, subject string) (store.Standing, error)
	Templates(ctx context.Context, by store.Actor, subject, model string) ([]voiceprint.Template, error)
}

// Passives keeps how far passive enrolments have come.
type Passives interface {
	Passive(ctx context.Context, by store.Actor, subject string) (enrol.State, int64, error)
	SavePassive(ctx context.Context, by store.Actor, subject string, l store.Learnt) (string, error)
}

// Followers keeps how templates follow their persons.
type Followers interface {
	Followed(ctx context.Context, by store.Actor, subject, template string) (enrol.Voice, int64, error)
	SaveFollowed(ctx context.Context, by store.Actor, subject, from string, v enrol.Voice, version int64, next *voiceprint.Template) (string, error)
}

var (
	_ People    = (*store.Store)(nil)
	_ Passives  = (*store.Store)(nil)
	_ Followers = (*store.Store)(nil)
)

// Config shapes New.
type Config struct {
	People    People
	Passives  Passives
	Followers Followers
	Scorer    voiceprint.Scorer
	Policy    enrol.Policy
	// By is as whom it acts.
	By store.Actor
	// Passive has customers enrolled by their calls, Adapt has templates follow them.
	Passive, Adapt bool
	// WatchListed says whether the watch list raises an alarm for a voice of which so
	// much speech was heard, Duplicates for which other customers it is enrolled; nil:
	// nobody looks.
	WatchListed func(ctx context.Context, e voiceprint.Embedding, net time.Duration) (bool, error)
	Duplicates  func(ctx context.Context, e voiceprint.Embedding, net time.Duration, subject string) ([]string, error)
	// Gates are the reasons for which audio of that quality must not be enrolled; nil:
	// there are none.
	Gates func(voiceprint.Quality) []voiceprint.Reason
}

// Learner learns. It is safe for concurrent use.
type Learner struct {
	cfg        Config
	model      string
	passive    *enrol.Passive
	adaptation *enrol.Adaptation
	// agree is the evidence from which on two voices are one.
	agree float64
}

// New makes a learner.
func New(c Config) (*Learner, error) {
	if c.People == nil || c.Passives == nil || c.Followers == nil || c.Scorer == nil {
		return nil, errors.New("voicelearn: people, what is kept of them, and a scorer are needed")
	}
	var err error
	if c.Policy, err = c.Policy.WithDefaults(); err != nil {
		return nil, err
	}
	l := &Learner{cfg: c, model: c.Scorer.Info().Model.ID, agree: c.Policy.Agree}
	if l.passive, err = enrol.NewPassive(c.Scorer, c.Policy); err != nil {
		return nil, err
	}
	if l.adaptation, err = enrol.NewAdaptation(c.Policy); err != nil {
		return nil, err
	}
	return l, nil
}

// Call is a customer's leg that is over.
type Call struct {
	// Key names the call, Line what it was heard over.
	Key, Line string
	At        time.Time
	// Subject is who it should be.
	Subject string
	// Confirmed says that another factor confirmed it on this call.
	Confirmed bool
	// Gates are the reasons for which the audio could carry no answer.
	Gates     []voiceprint.Reason
	Embedding voiceprint.Embedding
	Quality   voiceprint.Quality
	Decision  voiceprint.Decision
}

// Adapted is the verdict on a call by which a template has changed.
const Adapted enrol.Verdict = "adapted"

// tries is how often it begins again because another server has learnt from another
// call of the same person meanwhile.
const tries = 3

// Hear learns from a call what may be learnt. With neither the consent of the person
// nor another factor that confirms them nothing is kept.
func (l *Learner) Hear(ctx context.Context, c Call, now time.Time) (enrol.Result, error) {
	nothing := func(why ...voiceprint.Reason) (enrol.Result, error) {
		return enrol.Result{Verdict: enrol.Ignored, Reasons: why}, nil
	}
	switch {
	case c.Subject == "" || !l.cfg.Passive && !l.cfg.Adapt:
		return nothing()
	case !c.Confirmed:
		return nothing(enrol.NotConfirmed)
	}
	s, err := l.cfg.People.State(ctx, c.Subject)
	if err != nil {
		return enrol.Result{}, err
	}
	if s.State != store.Consented {
		return nothing(voiceprint.NoConsent)
	}
	if l.cfg.Gates != nil {
		c.Gates = append(slices.Clone(c.Gates), l.cfg.Gates(c.Quality)...)
	}
	for range tries {
		var r enrol.Result
		if r, err = l.hear(ctx, &c, now); !errors.Is(err, store.ErrConflict) {
			if why, gone := store.ReasonOf(err); gone {
				// They have opted out or were erased meanwhile.
				return nothing(why)
			}
			return r, err
		}
	}
	return enrol.Result{}, fmt.Errorf("voicelearn: after %d tries: %w", tries, err)
}

func (l *Learner) hear(ctx context.Context, c *Call, now time.Time) (enrol.Result, error) {
	templates, err := l.cfg.People.Templates(ctx, l.cfg.By, c.Subject, l.model)
	other := errors.Is(err, voiceprint.ErrModel)
	switch {
	case err == nil && l.cfg.Adapt:
		return l.follow(ctx, c, templates, now)
	case (other || errors.Is(err, store.ErrNotEnrolled)) && l.cfg.Passive:
		return l.collect(ctx, c, other, now)
	}
	return enrol.Result{Verdict: enrol.Ignored}, err
}

// collect goes on with a passive enrolment. Other says that there are templates, of
// other models.
func (l *Learner) collect(ctx context.Context, c *Call, other bool, now time.Time) (enrol.Result, error) {
	before, version, err := l.cfg.Passives.Passive(ctx, l.cfg.By, c.Subject)
	if err != nil {
		return enrol.Result{}, err
	}
	state := before
	if state.Phase == enrol.Active && other {
		// The template that it has led to is of no use any more. Where one was revoked a
		// person has done so, and decides when it begins anew.
		state = enrol.State{}
	}
	call := enrol.Call{
		ID: c.Key, Line: c.Line, At: c.At, Consent: enrol.Given, Confirmed: c.Confirmed, Gates: c.Gates, Embedding: c.Embedding, Quality: c.Quality,
	}
	if len(c.Gates) == 0 && state.Phase != enrol.Stopped && state.Phase != enrol.Active {
		if call.WatchListed, err = l.watchListed(ctx, c); err != nil {
			return enrol.Result{}, err
		}
		if l.cfg.Duplicates != nil {
			if call.Duplicates, err = l.cfg.Duplicates(ctx, c.Embedding, c.Quality.Net, c.Subject); err != nil {
				return enrol.Result{}, err
			}
		}
	}
	next, r, err := l.passive.Step(state, call, now)
	if err != nil || reflect.DeepEqual(next, before) {
		return r, err
	}
	_, err = l.cfg.Passives.SavePassive(ctx, l.cfg.By, c.Subject, store.Learnt{
		State: next, Version: version, Template: r.Template, Active: r.Verdict == enrol.Enrolled, Reasons: r.Reasons,
	})
	return r, err
}

func (l *Learner) watchListed(ctx context.Context, c *Call) (bool, error) {
	if l.cfg.WatchListed == nil {
		return false, nil
	}
	return l.cfg.WatchListed(ctx, c.Embedding, c.Quality.Net)
}

// follow has the nearest of a person's templates follow them.
func (l *Learner) follow(ctx context.Context, c *Call, templates []voiceprint.Template, now time.Time) (enrol.Result, error) {
	ignored := enrol.Result{Verdict: enrol.Ignored}
	if !c.Decision.Final || c.Decision.Scores == 0 {
		return ignored, nil
	}
	near := &templates[0]
	for i := range templates {
		if len(templates[i].Embedding) != len(c.Embedding) {
			return ignored, fmt.Errorf("voicelearn: a voice of %d numbers, a template of %d: %w", len(c.Embedding), len(templates[i].Embedding), voiceprint.ErrModel)
		}
		if voiceprint.Cosine(templates[i].Embedding, c.Embedding) > voiceprint.Cosine(near.Embedding, c.Embedding) {
			near = &templates[i]
		}
	}
	before, version, err := l.cfg.Followers.Followed(ctx, l.cfg.By, c.Subject, near.ID)
	if err != nil {
		return ignored, err
	}
	v := current(before, *near)
	gates := c.Gates
	if len(gates) == 0 {
		listed, lerr := l.watchListed(ctx, c)
		if lerr != nil {
			return ignored, lerr
		}
		if listed {
			gates = []voiceprint.Reason{enrol.WatchListed}
		}
	}
	next, changed, reasons, err := l.adaptation.Hear(v, enrol.Compared{
		Decision: c.Decision, Confirmed: c.Confirmed, Gates: gates, Embedding: c.Embedding, Net: c.Quality.Net,
	}, now)
	if err != nil || reflect.DeepEqual(next, before) {
		return enrol.Result{Verdict: enrol.Ignored, Reasons: reasons}, err
	}
	r := enrol.Result{Verdict: enrol.Kept, Reasons: reasons}
	var t *voiceprint.Template
	if changed {
		r.Verdict = Adapted
		adapted := *near
		adapted.ID, adapted.Embedding, adapted.Made, adapted.Source = "", next.Current, now, near.Source+"; call "+c.Key
		t = &adapted
	}
	_, err = l.cfg.Followers.SaveFollowed(ctx, l.cfg.By, c.Subject, near.ID, next, version, t)
	return r, err
}

// unchanged is the cosine from which on two templates are one but for rounding.
const unchanged = 0.9999

// current is how a template follows its person, as the template now is: what was
// followed before a rollback goes on from what it was rolled back to.
func current(v enrol.Voice, t voiceprint.Template) enrol.Voice {
	switch {
	case len(v.Current) != len(t.Embedding):
		return enrol.NewVoice(t)
	case voiceprint.Cosine(v.Current, t.Embedding) < unchanged:
		v.Current, v.Before = t.Embedding, nil
	}
	return v
}

// Renew says why a person should be enrolled anew, of a template that is followed, or
// was made and last used at these times.
func (l *Learner) Renew(v enrol.Voice, made, used, now time.Time) []voiceprint.Reason {
	if v.Made.IsZero() {
		v.Made = made
	}
	if used.After(v.Heard) {
		v.Heard = used
	}
	return l.adaptation.Renew(v, now)
}

// Expire makes what forgets calls that have waited too long for others.
func (l *Learner) Expire(now time.Time) func(enrol.State) (enrol.State, bool) {
	return func(s enrol.State) (enrol.State, bool) { return l.passive.Expire(s, now) }
}

// Keep is for how long a call waits for others.
func (l *Learner) Keep() time.Duration { return l.cfg.Policy.Passive.Keep }

// IsVoiceOf says whether a voice of which so much speech was heard is that of a person
// who is enrolled, such as an agent. Who is not is nobody's error.
func (l *Learner) IsVoiceOf(ctx context.Context, subject string, e voiceprint.Embedding, net time.Duration) (bool, error) {
	templates, err := l.cfg.People.Templates(ctx, l.cfg.By, subject, l.model)
	if _, known := store.ReasonOf(err); known {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	enrolled := make([]voiceprint.Embedding, len(templates))
	for i := range templates {
		enrolled[i] = templates[i].Embedding
	}
	llr, err := l.cfg.Scorer.LLR(enrolled, e, net)
	return llr >= l.agree, err
}
