package push

import "slices"

// backlog is what waits for one reader: messages in their order, and of the
// partials the latest of each call and role. Its user guards it.
type backlog struct {
	queue    []any
	partials []utterance
}

// push reports whether there was room.
func (b *backlog) push(m any, limit int) bool {
	if len(b.queue) >= limit {
		return false
	}
	b.queue = append(b.queue, m)
	return true
}

// partial lets a partial wait in the place of the one before it, and reports
// whether there was one. A final overtakes the partials of its own utterance; the
// caller pushes it.
func (b *backlog) partial(u utterance) (skipped bool) {
	i := slices.IndexFunc(b.partials, func(o utterance) bool { return o.Call == u.Call && o.Role == u.Role })
	switch {
	case u.Final && i >= 0 && b.partials[i].No <= u.No:
		b.partials = slices.Delete(b.partials, i, i+1)
		return true
	case !u.Final && i >= 0:
		b.partials[i] = u
		return true
	case !u.Final:
		b.partials = append(b.partials, u)
	}
	return false
}

// pop takes the next message, nil when there is none.
func (b *backlog) pop() (m any) {
	switch {
	case len(b.queue) > 0:
		m = b.queue[0]
		b.queue = slices.Delete(b.queue, 0, 1)
	case len(b.partials) > 0:
		m = b.partials[0]
		b.partials = slices.Delete(b.partials, 0, 1)
	}
	return m
}

func (b *backlog) empty() bool { return len(b.queue) == 0 && len(b.partials) == 0 }

func (b *backlog) clear() { b.queue, b.partials = nil, nil }
