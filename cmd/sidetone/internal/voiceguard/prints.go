package voiceguard

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sidetone/voiceprint/spoof/fingerprint"
	voicestore "sidetone/voiceprint/store"
)

const (
	// own is how many earlier calls of a person are brought back from the store when
	// the person calls: other servers may have heard them.
	own = 20
	// keptPrint is how much of a leg's print is kept: who is asked for their voice is
	// asked early in the call.
	keptPrint = 5 * time.Minute
	// forEver is for how long prints are found that are kept for ever.
	forEver = 100 * 365 * 24 * time.Hour
)

// PrintsConfig shapes NewPrints.
type PrintsConfig struct {
	Store *voicestore.Store
	By    voicestore.Actor
	// Keep is for how long what was said in a call is looked for; 0 is for ever.
	Keep time.Duration
	// Capacity is how much audio is in memory, fingerprint.IndexConfig's if 0; what a
	// person said in the latest calls is found beyond it.
	Capacity time.Duration
}

// Prints remembers what was said in earlier calls: sealed in the store, and in memory
// to be searched. It is safe for concurrent use.
type Prints struct {
	cfg   PrintsConfig
	index *fingerprint.Index
	// mu keeps what is in the store and what is in the index together.
	mu sync.Mutex
}

// NewPrints makes one that remembers nothing yet.
func NewPrints(c PrintsConfig) (*Prints, error) {
	if c.Store == nil || c.Keep < 0 {
		return nil, fmt.Errorf("voiceguard: a store is needed, and prints kept for %v", c.Keep)
	}
	if c.Keep == 0 {
		c.Keep = forEver
	}
	if c.Capacity == 0 {
		c.Capacity = 10 * time.Hour
	}
	x, err := fingerprint.NewIndex(fingerprint.IndexConfig{Capacity: c.Capacity, Keep: c.Keep})
	if err != nil {
		return nil, err
	}
	return &Prints{cfg: c, index: x}, nil
}

// Fill takes into memory what the store has: the latest calls, as many as there is
// room for.
func (p *Prints) Fill(ctx context.Context, now time.Time) error {
	var latest []voicestore.Print
	room := p.cfg.Capacity
	err := p.cfg.Store.ScanPrints(ctx, p.cfg.By, now.Add(-p.cfg.Keep), func(one voicestore.Print) bool {
		if room -= one.Print.Duration(); room < 0 {
			return false
		}
		latest = append(latest, one)
		return ctx.Err() == nil
	})
	if err != nil {
		return err
	}
	slices.Reverse(latest)
	p.add(latest)
	return ctx.Err()
}

// add adds what the index has not.
func (p *Prints) add(prints []voicestore.Print) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range prints {
		if !p.index.Has(one.Source) {
			p.index.Add(one.Source, one.Print, one.At)
		}
	}
}

// Of is a person's pseudonym and the prints of the enrolment. What the person said in
// the latest calls is brought to memory, and of one who has not consented, or was
// erased, what is there is forgotten.
func (p *Prints) Of(ctx context.Context, subject string) (person string, enrolment []fingerprint.Print, err error) {
	if person, err = p.cfg.Store.Pseudonym(subject); err != nil {
		return "", nil, err
	}
	enrolment, said, err := p.cfg.Store.Prints(ctx, p.cfg.By, subject, own)
	if _, no := voicestore.ReasonOf(err); no {
		p.Forget(person)
		return person, nil, nil
	}
	if err != nil {
		return person, nil, err
	}
	p.add(said)
	return person, enrolment, nil
}

// Keep keeps what a person said in a call that is over. Of one who has not consented
// nothing is kept.
func (p *Prints) Keep(ctx context.Context, subject, call string, print fingerprint.Print, now time.Time) error {
	print = print[:min(len(print), int(keptPrint/fingerprint.Step))]
	if print.Speech() < fingerprint.MinStretch {
		return nil
	}
	one := voicestore.Print{Source: fingerprint.Source{Call: call}, At: now, Print: print}
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.cfg.Store.AddPrint(ctx, p.cfg.By, subject, one)
	if _, no := voicestore.ReasonOf(err); no {
		return nil
	}
	if err != nil {
		return err
	}
	if one.Person, err = p.cfg.Store.Pseudonym(subject); err != nil {
		return err
	}
	p.index.Add(one.Source, print, now)
	return nil
}

// Forget forgets a person, by pseudonym, whom the store has forgotten.
func (p *Prints) Forget(person string) {
	p.index.Remove(func(s fingerprint.Source) bool { return s.Person == person })
}

// ForgetCalls forgets calls that the store has forgotten.
func (p *Prints) ForgetCalls(keys ...string) {
	p.index.Remove(func(s fingerprint.Source) bool { return slices.Contains(keys, s.Call) })
}

// Follow forgets all that the store no longer has, whoever deleted it there.
func (p *Prints) Follow(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept, err := p.cfg.Store.PrintSources(ctx)
	if err != nil {
		return err
	}
	p.index.Remove(func(s fingerprint.Source) bool { return !kept[s] })
	return nil
}
