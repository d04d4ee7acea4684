package voiceguard

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"sidetone/cmd/sidetone/internal/voices"
	"sidetone/internal/pcm"
	"sidetone/voiceprint"
	"sidetone/voiceprint/spoof"
	"sidetone/voiceprint/spoof/fingerprint"
)

// loadLimit bounds how long a person's prints may take to come, saveLimit how long to
// keep one.
const (
	loadLimit = 5 * time.Second
	saveLimit = 10 * time.Second
)

// Config shapes New.
type Config struct {
	// Prints are those of earlier calls and of enrolments; nil: what is repeated is not
	// seen.
	Prints *Prints
	Policy spoof.Policy
	// Call is the call's key.
	Call string
	// Customer says whether the leg is the customer's, as far as is known now: nobody
	// else's is looked at.
	Customer func() bool
	// Seen is told of each sign when it is first there.
	Seen func(spoof.Name)
	Log  *slog.Logger
}

// Guard looks for signs of spoofing on one leg. It is for the leg's goroutine.
type Guard struct {
	cfg      Config
	detector *spoof.Detector
	// person is as whom the caller is treated, by pseudonym, and enrolment what that
	// person was enrolled with.
	person    string
	enrolment []fingerprint.Print
	// treated says that this has changed since the last look.
	treated bool
	signs   []spoof.Sign
	seen    []spoof.Name
	against []voiceprint.Reason
}

var _ voices.Guard = (*Guard)(nil)

// New makes a guard.
func New(c Config) (*Guard, error) {
	if c.Customer == nil || c.Seen == nil || c.Log == nil {
		return nil, errors.New("voiceguard: a guard needs to know whose the leg is, whom to tell, and a log")
	}
	// An error in the policy is better known now.
	if _, err := c.Policy.Judge(spoof.Signals{}); err != nil {
		return nil, err
	}
	return &Guard{cfg: c}, nil
}

// Treat implements voices.Guard.
func (g *Guard) Treat(ctx context.Context, subject string) {
	g.person, g.enrolment = "", nil
	if subject != "" && g.cfg.Prints != nil {
		soon, cancel := context.WithTimeout(ctx, loadLimit)
		defer cancel()
		var err error
		if g.person, g.enrolment, err = g.cfg.Prints.Of(soon, subject); err != nil {
			g.cfg.Log.Error("what the person said before is not known; repeated audio of theirs is not seen", "error", err)
		}
	}
	g.signs, g.treated = nil, true
	if g.detector != nil {
		g.detector.Treat(g.person, g.enrolment)
	}
}

// Hear implements voices.Guard.
func (g *Guard) Hear(f *pcm.Frame, speech bool) {
	switch customer := g.cfg.Customer(); {
	case !customer && g.detector == nil:
		return
	case !customer:
		g.detector, g.signs, g.against = nil, nil, nil
		return
	case g.detector == nil:
		if !g.begin() {
			return
		}
	}
	g.detector.Hear(f, speech)
}

func (g *Guard) begin() bool {
	c := spoof.Config{Person: g.person, Enrolment: g.enrolment, Call: g.cfg.Call, Policy: g.cfg.Policy}
	if g.cfg.Prints != nil {
		c.Earlier = g.cfg.Prints.index
	}
	d, err := spoof.New(c)
	if err != nil {
		g.cfg.Log.Error("signs of spoofing cannot be looked for", "error", err)
		return false
	}
	g.detector = d
	return true
}

// Look implements voices.Guard.
func (g *Guard) Look(context.Context) []voiceprint.Reason {
	if g.detector == nil || !g.treated && !g.detector.Due() {
		return g.against
	}
	g.treated = false
	v := g.detector.Look(time.Now())
	for _, s := range v.Signs {
		i := slices.IndexFunc(g.signs, func(o spoof.Sign) bool { return o.Name == s.Name })
		switch {
		case i < 0:
			g.signs = append(g.signs, s)
		case s.Probability >= g.signs[i].Probability:
			g.signs[i] = s
		}
		if !slices.Contains(g.seen, s.Name) {
			g.seen = append(g.seen, s.Name)
			g.cfg.Seen(s.Name)
		}
	}
	g.against = nil
	if v.Suspected {
		g.against = []voiceprint.Reason{voiceprint.SpoofSuspected}
	}
	return g.against
}

// Signs are those that were seen since the person is known, each as clearly as ever.
func (g *Guard) Signs() []spoof.Sign { return slices.Clone(g.signs) }

// End ends the leg: what was said on it is kept as what the subject said, if it is
// known to be the subject's voice, else not: subject is empty then. Nothing is kept of
// who has not consented.
func (g *Guard) End(ctx context.Context, subject string) {
	if g.detector == nil || g.cfg.Prints == nil || subject == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveLimit)
	defer cancel()
	if err := g.cfg.Prints.Keep(ctx, subject, g.cfg.Call, g.detector.Print(), time.Now()); err != nil {
		g.cfg.Log.Error("the print of what was said could not be kept", "error", err)
	}
}
