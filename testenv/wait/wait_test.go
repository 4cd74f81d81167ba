package wait

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		polls := 0
		For(t, "ten polls", func() bool { polls++; return polls == 10 })
		begin := time.Now()
		err := Until(t.Context(), "a miracle", func() bool { return false })
		if took := time.Since(begin); took != Patience || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "40s for a miracle") {
			t.Errorf("after %v: %v, want the deadline to be exceeded after %v", took, err, Patience)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*Patience)
		defer cancel()
		begin = time.Now()
		if err := Until(ctx, "a deadline", func() bool { return time.Since(begin) > Patience+time.Second }); err != nil {
			t.Errorf("a context with a deadline of its own: %v", err)
		}
	})
}
