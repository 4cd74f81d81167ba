package daemon

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// folding is a slog.Handler that folds lines of one kind: the first foldAfter are
// written as they are, then one line a minute, later one in ten minutes, which is the
// latest of its kind with "repeated", the number of lines that it stands for, and the
// times of the first and the last of these as "since" and "last". A minute without
// such a line ends the series. A flapping link must not push everything else out of
// the log.
//
// Lines are of one kind if they differ in figures only. Lines under level info are
// not folded.
type folding struct {
	to slog.Handler
	// bound is the kind of the attributes and groups that to has already.
	bound uint64
	*folds
}

// The bounds of folding.
const (
	foldAfter = 5                // lines of a kind that are written as they are
	foldCalm  = time.Minute      // the silence that ends a series
	foldFirst = time.Minute      // the time for which the first folded line stands
	foldMost  = 10 * time.Minute // the most, after doubling
	foldKinds = 256              // kinds that are known at a time; beyond, the oldest ends
)

// folds are the series that are going on. They may be used by several goroutines.
type folds struct {
	mu    sync.Mutex
	kinds map[uint64]*fold
	// wake yields a token when a line was folded.
	wake chan struct{}
}

// fold is a series of lines of one kind.
type fold struct {
	written int
	last    time.Time
	every   time.Duration
	// folded counts the lines since the last one that was written, the first of them
	// at since; record is the latest, for the handler to.
	folded int
	since  time.Time
	record slog.Record
	to     slog.Handler
}

var foldSeed = maphash.MakeSeed()

// newFolding returns a handler that folds the lines of another.
func newFolding(to slog.Handler) *folding {
	return &folding{to: to, folds: &folds{kinds: map[uint64]*fold{}, wake: make(chan struct{}, 1)}}
}

// Enabled implements slog.Handler.
func (f *folding) Enabled(ctx context.Context, level slog.Level) bool {
	return f.to.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (f *folding) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &folding{f.to.WithAttrs(attrs), kindOf(f.bound, "", attrs), f.folds}
}

// WithGroup implements slog.Handler.
func (f *folding) WithGroup(name string) slog.Handler {
	return &folding{f.to.WithGroup(name), kindOf(f.bound, name, nil), f.folds}
}

// Handle implements slog.Handler.
func (f *folding) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return f.to.Handle(ctx, r)
	}
	if r.Time.IsZero() {
		r.Time = time.Now()
	}
	due, passes := f.add(r, f.to)
	for _, d := range due {
		d.write(ctx)
	}
	if passes {
		return f.to.Handle(ctx, r)
	}
	return nil
}

// add adds a line to its series, and reports whether it is to be written as it is.
// due are the folded lines that have to be written before.
func (f *folding) add(r slog.Record, to slog.Handler) (due []fold, passes bool) {
	var attrs []slog.Attr
	r.Attrs(func(a slog.Attr) bool { attrs = append(attrs, a); return true })
	id := kindOf(f.bound, r.Level.String()+" "+r.Message, attrs)
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.kinds[id]
	if k != nil && r.Time.Sub(k.last) >= foldCalm {
		due = f.end(due, id)
		k = nil
	}
	if k == nil {
		if len(f.kinds) >= foldKinds {
			due = f.end(due, f.oldest())
		}
		k = &fold{every: foldFirst}
		f.kinds[id] = k
	}
	k.last = r.Time
	if k.written < foldAfter {
		k.written++
		return due, true
	}
	if k.folded == 0 {
		k.since = r.Time
	}
	k.folded, k.record, k.to = k.folded+1, r.Clone(), to
	wake(f.wake)
	return due, false
}

// oldest returns the series that had no line for the longest time.
func (f *folds) oldest() (id uint64) {
	var last time.Time
	for i, k := range f.kinds {
		if last.IsZero() || k.last.Before(last) {
			id, last = i, k.last
		}
	}
	return id
}

// end ends a series, and appends its folded line to due, if it has one.
func (f *folds) end(due []fold, id uint64) []fold {
	if k := f.kinds[id]; k.folded > 0 {
		due = append(due, *k)
	}
	delete(f.kinds, id)
	return due
}

// due returns the folded lines that are to be written now, and when the next will be;
// zero if none waits. As soon as one is to be written, or with all, it returns every one,
// in the order of their latest lines: whoever reads the log's last lines has to find there
// what came last.
func (f *folds) due(now time.Time, all bool) (due []fold, next time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, k := range f.kinds {
		calm, at := k.last.Add(foldCalm), k.since.Add(k.every)
		if calm.Before(at) {
			at = calm
		}
		switch {
		case k.folded > 0 && (next.IsZero() || at.Before(next)):
			next = at
		case k.folded == 0 && !now.Before(calm):
			due = f.end(due, id)
		}
	}
	if !all && (next.IsZero() || now.Before(next)) {
		return due, next
	}
	for id, k := range f.kinds {
		switch {
		case all || !now.Before(k.last.Add(foldCalm)):
			due = f.end(due, id)
		case k.folded > 0:
			due = append(due, *k)
			k.folded, k.every = 0, min(2*k.every, foldMost)
		}
	}
	slices.SortFunc(due, func(a, b fold) int { return a.last.Compare(b.last) })
	return due, time.Time{}
}

// run writes folded lines when they are due, until ctx ends.
func (f *folds) run(ctx context.Context) error {
	for {
		due, next := f.due(time.Now(), false)
		for _, d := range due {
			d.write(ctx)
		}
		var timer <-chan time.Time
		wake := f.wake
		if !next.IsZero() {
			timer, wake = time.After(time.Until(next)), nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer:
		case <-wake:
		}
	}
}

// flush writes all folded lines.
func (f *folds) flush() {
	due, _ := f.due(time.Now(), true)
	for _, d := range due {
		d.write(context.Background())
	}
}

// write writes the line that stands for the folded ones.
func (k fold) write(ctx context.Context) {
	message := fmt.Sprintf("%s, %d times until %s", k.record.Message, k.folded, k.last.Format(time.TimeOnly))
	r := slog.NewRecord(time.Now(), k.record.Level, message, k.record.PC)
	k.record.Attrs(func(a slog.Attr) bool { r.AddAttrs(a); return true })
	r.AddAttrs(slog.Int("repeated", k.folded), slog.Time("since", k.since), slog.Time("last", k.last))
	_ = k.to.Handle(ctx, r)
}

// kindOf identifies the kind of a line by its text and attributes, without their
// figures.
func kindOf(bound uint64, text string, attrs []slog.Attr) uint64 {
	var h maphash.Hash
	h.SetSeed(foldSeed)
	fmt.Fprintf(&h, "%d\x00", bound)
	hashWords(&h, text)
	for _, a := range attrs {
		hashAttr(&h, a)
	}
	return h.Sum64()
}

func hashAttr(h *maphash.Hash, a slog.Attr) {
	h.WriteString("\x00" + a.Key + "\x00")
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
	case slog.KindGroup:
		for _, inner := range v.Group() {
			hashAttr(h, inner)
		}
		h.WriteString("\x00")
	case slog.KindAny, slog.KindBool, slog.KindString, slog.KindLogValuer:
		hashWords(h, v.String())
	}
}

// figure matches a number with or without a unit, such as 3, 20%, 1.5ms or 1m30s, and
// no address, interface or name.
var figure = regexp.MustCompile(`^(\d+(\.\d+)?(ns|µs|ms|s|m|h|d|%)?)+$`)

// hashWords hashes the words of a text that are no figures.
func hashWords(h *maphash.Hash, text string) {
	for word := range strings.FieldsSeq(text) {
		if !figure.MatchString(strings.Trim(word, "(),;:[]")) {
			h.WriteString(word)
		}
		h.WriteString(" ")
	}
}
