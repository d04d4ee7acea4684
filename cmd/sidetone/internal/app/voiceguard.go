package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/cmd/sidetone/internal/voiceguard"
	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/media"
	"sidetone/voiceprint"
	"sidetone/voiceprint/spoof"
	voicestore "sidetone/voiceprint/store"
	"sidetone/voiceprint/store/watchlist"
	"sidetone/voiceprint/watch"
)

// searchStages are the net speech at which the watch list is searched, besides at the
// end of the leg.
func searchStages() []time.Duration {
	return []time.Duration{5 * time.Second, 10 * time.Second, 15 * time.Second}
}

// openGuard makes what stands beside the comparison.
func (k *voiceKit) openGuard(cfg *config.Voice) error {
	var err error
	k.lookout, err = voiceguard.NewLookout(voiceguard.LookoutConfig{
		List: k.store.Watch(), Scorer: k.engine.Scorer, By: k.system(), Searches: len(searchStages()) + 1,
	})
	if err != nil {
		return err
	}
	k.spoof = cfg.Spoof()
	if cfg.Prints {
		if k.prints, err = voiceguard.NewPrints(voiceguard.PrintsConfig{Store: k.store, By: k.system(), Keep: cfg.Keep.Prints}); err != nil {
			return err
		}
	}
	if cfg.Links {
		k.links, err = newVoiceLinks(k.engine.Scorer)
	}
	return err
}

// fillGuard takes into memory what earlier calls have left.
func (k *voiceKit) fillGuard(ctx context.Context) {
	if k.prints == nil {
		return
	}
	if err := k.prints.Fill(ctx, time.Now()); err != nil && ctx.Err() == nil {
		k.log.Error("what was said in earlier calls is not known; what repeats calls of others is not seen", "error", err)
	}
}

// follow forgets what was erased beside this server.
func (k *voiceKit) follow(ctx context.Context) {
	if k.prints != nil {
		if err := k.prints.Follow(ctx); err != nil && ctx.Err() == nil {
			k.log.Error("prints of voices cannot be compared with what is kept", "error", err)
		}
	}
	if k.links != nil {
		if err := k.links.follow(ctx, k.store); err != nil && ctx.Err() == nil {
			k.log.Error("voices that call for several customers cannot be compared with who was erased", "error", err)
		}
	}
}

// forget forgets a customer whom the store has forgotten.
func (k *voiceKit) forget(customer string) {
	if k.prints != nil {
		if id, err := k.store.Pseudonym(customer); err == nil {
			k.prints.Forget(id)
		}
	}
	if k.links != nil {
		k.links.forget(canonical(customer))
	}
}

// forgetCalls forgets calls that are erased.
func (k *voiceKit) forgetCalls(keys []string) {
	if k.prints != nil {
		k.prints.ForgetCalls(keys...)
	}
	if k.links != nil {
		k.links.forgetCalls(keys)
	}
}

// guardVoice makes what looks for signs of spoofing on a leg; nil where nothing does.
func (c *call) guardVoice(l *leg) *voiceguard.Guard {
	k := c.env.kit
	if k == nil {
		return nil
	}
	g, err := voiceguard.New(voiceguard.Config{
		Prints: k.prints, Policy: k.spoof, Call: c.key, Customer: l.customer, Log: l.log(),
		Seen: func(name spoof.Name) { c.env.metrics.voiceSigns.WithLabelValues(string(name)).Inc() },
	})
	if err != nil {
		l.log().Error("signs of spoofing cannot be looked for", "error", err)
		return nil
	}
	return g
}

// voiceWaiting is how many frames wait to be heard for whose voice they carry.
func (cs *calls) voiceWaiting() float64 {
	cs.mu.Lock()
	order := slices.Clone(cs.order)
	cs.mu.Unlock()
	n := 0
	for _, c := range order {
		c.mu.Lock()
		for _, l := range c.legs {
			if !l.ended && l.voice != nil {
				n += l.voice.Waiting()
			}
		}
		c.mu.Unlock()
	}
	return float64(n)
}

// customer says whether the leg is the customer's as far as is known.
func (l *leg) customer() bool { return l.role() == media.RoleCustomer }

// seen are the signs of spoofing of the leg so far.
func (l *leg) seen() []signReply {
	if l.guard == nil {
		return nil
	}
	var out []signReply
	for _, s := range l.guard.Signs() {
		out = append(out, signReply{Name: string(s.Name), Strength: s.Strength, Probability: s.Probability, Evidence: s.Evidence})
	}
	return out
}

// wantsVoice says whether somebody is to be told of a leg's voice: it takes an
// embedding.
func (c *call) wantsVoice(ctx context.Context, l *leg, over bool) bool {
	k := c.env.kit
	if k == nil || !l.customer() {
		return false
	}
	if v := &c.env.cfg.Voice; over && (v.Links || v.Passive.On || v.Adapt.On) || !over && c.agentEnrolled() {
		return true
	}
	listed, err := k.lookout.Any(ctx, time.Now())
	if err != nil {
		l.log().Error("the watch list cannot be read", "error", err)
	}
	return listed
}

// agentEnrolled says whether an agent's own voice is compared on this call.
func (c *call) agentEnrolled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.legs, func(l *leg) bool { return !l.ended && l.ownEnrolled })
}

// searchVoice looks for a customer's voice on the watch list and among those of other
// calls. Whoever is at the telephone with them is not told.
func (c *call) searchVoice(ctx context.Context, l *leg, v *voices.Heard) {
	k := c.env.kit
	// What is no one clear voice is compared with nobody; that it may be played is no
	// reason to look away.
	if k == nil || !l.customer() || slices.ContainsFunc(v.Gates, func(r voiceprint.Reason) bool { return r != voiceprint.SpoofSuspected }) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepVoice)
	defer cancel()
	if v.Over && k.links != nil && v.Decision.Outcome != voiceprint.Match && v.Subject != "" {
		if err := k.links.add(ctx, k.store, c.key, v); err != nil {
			l.log().Error("the voice cannot be compared with those of other calls", "error", err)
		}
	}
	hits, err := k.lookout.Search(ctx, v.Embedding, v.Quality.Net, time.Now())
	if err != nil {
		l.log().Error("the watch list cannot be searched", "error", err)
		return
	}
	for _, h := range hits {
		added, err := k.store.Watch().Hit(ctx, k.system(), watchlist.Hit{Watch: h.ID, Call: c.key, Leg: l.id, LLR: h.LLR})
		if err != nil {
			l.log().Error("a hit of the watch list could not be kept", "watch", h.ID, "error", err)
			continue
		}
		if added {
			c.env.metrics.voiceHits.Inc()
			l.log().Warn("a voice of the watch list seems to be heard", "watch", h.ID, "net", v.Quality.Net)
		}
	}
}

// voiceOver ends what was heard of a leg; last is its last answer.
func (c *call) voiceOver(l *leg, last *voices.Answer) {
	if l.guard == nil {
		return
	}
	d := &last.Decision
	c.amendVoice(l, last)
	subject := ""
	// Of a voice that is not the customer's own nothing is kept: whoever it is was not
	// asked.
	if d.Final && d.Outcome == voiceprint.Match && l.customer() {
		subject = last.Subject
	}
	l.guard.End(c.ctx, subject)
}

// amendVoice tells the signs of spoofing that have shown since the last decision.
func (c *call) amendVoice(l *leg, last *voices.Answer) {
	signs := l.seen()
	fresh := slices.ContainsFunc(signs, func(s signReply) bool {
		return !slices.ContainsFunc(l.signs, func(o signReply) bool { return o.Name == s.Name })
	})
	if !last.Decision.Final || last.Decision.Scores == 0 || !fresh {
		return
	}
	c.mu.Lock()
	if l.expected == nil || *l.expected != last.Subject {
		c.mu.Unlock()
		return
	}
	l.signs = signs
	c.emitVoice(l, last)
	c.mu.Unlock()
	if l.compared == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), keepVoice)
	defer cancel()
	if err := c.env.comparisons.Amended(ctx, l.compared, signs); err != nil {
		c.log.Error("signs of spoofing could not be kept; the journal has them", "error", err)
	}
}

// signReply is a sign of spoofing.
type signReply struct {
	Name string `json:"name"`
	// Strength is in seconds of what was heard before, or in nats.
	Strength    float64 `json:"strength"`
	Probability float64 `json:"probability"`
	Evidence    string  `json:"evidence"`
}

func keptSigns(signs []signReply) []voicestore.Sign {
	var out []voicestore.Sign
	for _, s := range signs {
		out = append(out, voicestore.Sign(s))
	}
	return out
}

// Amended implements comparisons.
func (k *voiceKit) Amended(ctx context.Context, id string, signs []signReply) error {
	return k.store.Amend(ctx, k.system(), id, keptSigns(signs))
}

// voiceLinks are the voices that no enrolled one explains, and for whom they called.
// They are in memory alone and begin anew with the server.
type voiceLinks struct {
	mu    sync.Mutex
	links *watch.Links
}

func newVoiceLinks(s voiceprint.Scorer) (*voiceLinks, error) {
	l, err := watch.NewLinks(watch.LinksConfig{Scorer: s})
	if err != nil {
		return nil, err
	}
	return &voiceLinks{links: l}, nil
}

// add takes the voice of a leg that is over, unless the customer has opted out.
func (v *voiceLinks) add(ctx context.Context, s *voicestore.Store, call string, h *voices.Heard) error {
	now, err := s.State(ctx, h.Subject)
	if err != nil || now.State == voicestore.OptedOut {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	at := time.Now()
	_, err = v.links.Add(watch.Heard{Call: call, Customer: canonical(h.Subject), Embedding: h.Embedding, Net: h.Quality.Net, At: at}, at)
	return err
}

func (v *voiceLinks) forget(customer string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.links.Forget(customer)
}

func (v *voiceLinks) forgetCalls(keys []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.links.ForgetCalls(keys...)
}

// follow forgets who has opted out, or was erased after they called.
func (v *voiceLinks) follow(ctx context.Context, s *voicestore.Store) error {
	v.mu.Lock()
	v.links.Expire(time.Now())
	first := map[string]time.Time{}
	for _, c := range v.links.Calls() {
		if _, ok := first[c.Customer]; !ok {
			first[c.Customer] = c.At
		}
	}
	v.mu.Unlock()
	for customer, at := range first {
		now, err := s.State(ctx, customer)
		if err != nil {
			return err
		}
		if now.State == voicestore.OptedOut || now.Erased.After(at) {
			v.forget(customer)
		}
	}
	return nil
}

// all are the voices that called for several customers.
func (v *voiceLinks) all() []watch.Link {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.links.Expire(time.Now())
	return v.links.Links()
}

// watchListed says whether a voice, made of net speech, is like one of the watch list.
func (k *voiceKit) watchListed(ctx context.Context, e voiceprint.Embedding, net time.Duration) (bool, error) {
	hits, err := k.lookout.Search(ctx, e, net, time.Now())
	return len(hits) > 0, err
}

// duplicatesOf are the other customers whose enrolled voice is like this one, made of
// net speech. They are for the security team.
func (k *voiceKit) duplicatesOf(ctx context.Context, e voiceprint.Embedding, net time.Duration, subject string) ([]string, error) {
	known, err := voiceguard.ReadKnown(ctx, k.store, k.system(), k.engine.Scorer)
	if err != nil {
		return nil, err
	}
	self, err := k.store.Pseudonym(subject)
	if err != nil {
		return nil, err
	}
	ids, err := known.Alike(e, net, self)
	if err != nil {
		return nil, err
	}
	return namesOf(ctx, k.store, k.system(), ids)
}

// namesOf are who persons are; one who was erased has none.
func namesOf(ctx context.Context, s *voicestore.Store, by voicestore.Actor, ids []string) ([]string, error) {
	var out []string
	for _, id := range ids {
		p, err := s.PersonByID(ctx, by, id)
		if errors.Is(err, voicestore.ErrUnknown) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("whose voice it is, too: %w", err)
		}
		if p.Subject != "" {
			out = append(out, p.Subject)
		}
	}
	return out, nil
}
