// Package wait polls for conditions, in tests and in programs that play scenarios.
package wait

import (
	"context"
	"fmt"
	"time"
)

// Patience bounds each wait whose context has no deadline. It is generous, since it
// matters only where something went wrong.
const Patience = 40 * time.Second

// The pause between polls doubles from the first to the longest.
const (
	firstPause   = time.Millisecond
	longestPause = 50 * time.Millisecond
)

// Until polls until a condition holds. It gives up with an error when ctx ends, or
// after Patience where ctx has no deadline.
func Until(ctx context.Context, what string, holds func() bool) error {
	ctx, cancel := Bounded(ctx)
	defer cancel()
	begin := time.Now()
	for pause := firstPause; !holds(); pause = min(2*pause, longestPause) {
		if err := Sleep(ctx, pause); err != nil {
			return fmt.Errorf("waited %v for %s: %w", time.Since(begin).Round(time.Millisecond), what, err)
		}
	}
	return nil
}

// Bounded gives a context a deadline after Patience, unless it has one.
func Bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bounded := ctx.Deadline(); bounded {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, Patience)
}

// Sleep waits for d, and returns ctx's error if ctx ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// TB is the part of testing.TB that For needs.
type TB interface {
	Helper()
	Context() context.Context
	Fatalf(format string, args ...any)
}

// For is Until for a test; it ends the test where the wait fails.
func For(t TB, what string, holds func() bool) {
	t.Helper()
	if err := Until(t.Context(), what, holds); err != nil {
		t.Fatalf("%v", err)
	}
}
