package queue

import (
	"context"
	"testing"
	"testing/synctest"

	"sidetone/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func push(t *testing.T, q *Queue[int], vs ...int) {
	t.Helper()
	for _, v := range vs {
		if !q.Push(&v) {
			t.Fatalf("Push(%d) on an open queue = false", v)
		}
	}
}

func drain(q *Queue[int]) []int {
	var out []int
	var v int
	for q.Pop(context.Background(), &v) {
		out = append(out, v)
	}
	return out
}

func TestFullQueueDropsTheOldest(t *testing.T) {
	q := New[int](3)
	push(t, q, 1, 2, 3, 4, 5)
	q.Close()
	got := drain(q)
	if len(got) != 3 || got[0] != 3 || got[2] != 5 {
		t.Errorf("got %v, want [3 4 5]", got)
	}
	if q.Dropped() != 2 {
		t.Errorf("Dropped() = %d, want 2", q.Dropped())
	}
}

func TestCloseDeliversWhatIsInside(t *testing.T) {
	q := New[int](4)
	push(t, q, 7, 8)
	q.Close()
	q.Close()
	v := 9
	if q.Push(&v) {
		t.Error("Push on a closed queue = true")
	}
	if got := drain(q); len(got) != 2 || got[0] != 7 || got[1] != 8 {
		t.Errorf("got %v, want [7 8]", got)
	}
}

func TestPopWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[int](2)
		got := make(chan int)
		go func() {
			var v int
			for q.Pop(t.Context(), &v) {
				got <- v
			}
			close(got)
		}()
		synctest.Wait()
		push(t, q, 1)
		if v := <-got; v != 1 {
			t.Errorf("got %d, want 1", v)
		}
		q.Close()
		if _, open := <-got; open {
			t.Error("the reader goes on after Close")
		}
	})
}

func TestPopEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var v int
	if New[int](1).Pop(ctx, &v) {
		t.Error("Pop with a cancelled context = true")
	}
}

func TestPushDoesNotAllocate(t *testing.T) {
	q := New[[320]int16](4)
	var v [320]int16
	if n := testing.AllocsPerRun(100, func() { q.Push(&v) }); n != 0 {
		t.Errorf("%v allocations per Push, want 0", n)
	}
}

func TestLen(t *testing.T) {
	q := New[int](2)
	push(t, q, 1, 2, 3)
	var v int
	if q.Len() != 2 || !q.Pop(context.Background(), &v) || q.Len() != 1 {
		t.Errorf("Len() = %d after %d was taken", q.Len(), v)
	}
}
