package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sidetone/cmd/sidetone/internal/voiceguard"
	"sidetone/voiceprint"
	voicestore "sidetone/voiceprint/store"
)

// searchStages are the net speech at which the watch list is searched, besides at the
// end of the leg.
func searchStages() []time.Duration {
	return []time.Duration{5 * time.Second, 10 * time.Second, 15 * time.Second}
}

// newLookout makes what searches the watch list.
func (k *voiceKit) newLookout() (*voiceguard.Lookout, error) {
	return voiceguard.NewLookout(voiceguard.LookoutConfig{
		List: k.store.Watch(), Scorer: k.engine.Scorer, By: k.system(), Searches: len(searchStages()) + 1,
	})
}

// watchListed says whether a voice, made of net speech, is like one of the watch list.
func (k *voiceKit) watchListed(ctx context.Context, e voiceprint.Embedding, net time.Duration) (bool, error) {
	hits, err := k.lookout.Search(ctx, e, net, time.Now())
	return len(hits) > 0, err
}

// duplicatesOf are the other customers whose enrolled voice is like this one, made of
// net speech. They are for the security team.
func (k *voiceKit) duplicatesOf(ctx context.Context, e voiceprint.Embedding, net time.Duration, subject string) ([]string, error) {
	ids, err := voiceguard.Duplicates(ctx, k.store, k.system(), k.engine.Scorer, e, net, subject)
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
