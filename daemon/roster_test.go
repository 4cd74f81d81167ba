package daemon

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"swerve/lane"
)

// Clients are listed when flows begin, soon where an uplink is suspected, and now and then;
// a list that took long is followed by a long rest.
func TestRosterRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lists []time.Duration
		began := time.Now()
		took := 10 * time.Millisecond
		r := newRoster(func(lane.Layout) (int, error) {
			lists = append(lists, time.Since(began))
			time.Sleep(took)
			return 0, nil
		}, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = r.run(ctx) }()
		after := func(pause time.Duration, do func()) {
			time.Sleep(pause)
			do()
			synctest.Wait()
		}
		after(0, func() { wake(r.began) }) // nothing of ours is in the kernel yet
		r.follow(lane.DefaultLayout)
		after(time.Second, func() { wake(r.began) })
		after(100*time.Millisecond, func() { wake(r.began) })
		after(50*time.Millisecond, func() { wake(r.suspects) })
		after(time.Second, func() { wake(r.suspects) }) // which does not make up for the rest
		time.Sleep(40 * time.Second)
		stop()
		<-done
		want := []time.Duration{
			time.Second, 1510 * time.Millisecond, 2150 * time.Millisecond, 32160 * time.Millisecond,
		}
		if len(lists) != len(want) {
			t.Fatalf("listed at %v, want %v", lists, want)
		}
		for i := range want {
			if lists[i] != want[i] {
				t.Errorf("listed at %v, want %v", lists, want)
			}
		}
	})
}

// Where flows begin all the time, the first lists follow each other soon, and later ones take
// a four-hundredth of the time.
func TestRosterOwesRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const took = 10 * time.Millisecond
		lists := make(chan time.Time, 1000)
		r := newRoster(func(lane.Layout) (int, error) {
			lists <- time.Now()
			time.Sleep(took)
			return 0, nil
		}, slog.New(slog.DiscardHandler))
		r.follow(lane.DefaultLayout)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = r.run(ctx) }()
		for range 2 {
			began := time.Now()
			for time.Since(began) < time.Minute {
				wake(r.began)
				time.Sleep(50 * time.Millisecond)
			}
			var at []time.Duration
			for len(lists) > 0 {
				at = append(at, (<-lists).Sub(began))
			}
			if n := len(at); n < 4 || at[3] > 2200*time.Millisecond || n > restsOwed+1+60/4 {
				t.Errorf("in a minute in which flows began all the time it listed at %v", at)
			}
			time.Sleep(20 * time.Second) // in which none begins
		}
		stop()
		<-done
	})
}

// A list during which the machine paused is followed by one long rest, and then all is as ever.
func TestRosterAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lists := make(chan time.Time, 1000)
		began := time.Now()
		r := newRoster(func(lane.Layout) (int, error) {
			lists <- time.Now()
			if len(lists) == 1 {
				time.Sleep(2 * time.Second)
			}
			time.Sleep(10 * time.Millisecond)
			return 0, nil
		}, slog.New(slog.DiscardHandler))
		r.follow(lane.DefaultLayout)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = r.run(ctx) }()
		for time.Since(began) < 2*time.Minute {
			wake(r.began)
			time.Sleep(50 * time.Millisecond)
		}
		stop()
		<-done
		if n := len(lists); n < 20 {
			t.Errorf("%d lists in the two minutes after a pause", n)
		}
	})
}
