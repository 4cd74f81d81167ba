package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The files of an archive, in its folder: the current one, and its predecessor.
const (
	archiveFile = "events.ndjson"
	archiveOld  = "events.ndjson.1"
	// MaxArchiveBytes is the maximum size of each of the two.
	MaxArchiveBytes = 1 << 20
)

// Bounds for the content of a file that any program may have written.
const (
	maxArchiveLine = 64 << 10
	maxArchiveSeq  = 1 << 53 // the largest number that JSON readers hold exactly
)

// The timing of an archive: what was written survives the process at once, and a
// sudden loss of power after the next sync. Gateways often have slow disks with a
// limited number of writes.
const (
	archiveSync       = time.Minute // least time between two syncs; a switch does not wait for it
	archiveSwitchSync = time.Second // least time between two syncs for switches
	archiveAgain      = 10 * time.Second
)

// Archive keeps a hub's events in two files of a folder, so that they survive the
// process. It must be used by one goroutine at a time, and no publisher waits for
// it.
type Archive struct {
	folder string
	// sync is (*os.File).Sync, or a test's.
	sync func(*os.File) error

	mu       sync.Mutex // guards the file against the sync that a timer starts
	file     *os.File
	size     int64
	unsynced bool
	synced   time.Time
	// failed is the error of a sync that the timer started, until it is reported.
	failed error
}

// OpenArchive returns the archive of a folder, which need not exist yet. Nothing is
// read or written before [Archive.Read] and [Archive.Keep].
func OpenArchive(folder string) *Archive {
	return &Archive{folder: folder, sync: (*os.File).Sync}
}

// Read returns the archived events that a hub has room for, the oldest first. The
// error reports what could not be read; the lines that could be read are returned
// with it. An incomplete last line, which a sudden stop leaves, is not an error.
func (a *Archive) Read() ([]Line, error) {
	var lines []Line
	var errs []error
	for _, name := range []string{archiveOld, archiveFile} {
		found, err := readArchive(filepath.Join(a.folder, name))
		if err != nil {
			errs = append(errs, err)
		}
		lines = append(lines, found...)
	}
	return latestLines(lines), errors.Join(errs...)
}

// latestLines returns the last lines, as many as a hub has room for.
func latestLines(lines []Line) []Line {
	size, from := 0, len(lines)
	for from > 0 && len(lines)-from < MaxEvents {
		if size += len(lines[from-1].JSON); size > MaxLogBytes {
			break
		}
		from--
	}
	return slices.Clone(lines[from:])
}

// readArchive reads one file.
func readArchive(path string) ([]Line, error) {
	file, err := OpenRegular(path, os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("control: read events: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, 2*MaxArchiveBytes))
	if err != nil {
		return nil, fmt.Errorf("control: read events %s: %w", path, err)
	}
	var lines []Line
	broken := 0
	for len(data) > 0 {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		data = rest
		if !whole {
			break // the incomplete line of a sudden stop
		}
		if l, ok := decodeArchived(line); ok {
			lines = append(lines, l)
		} else {
			broken++
		}
	}
	if broken > 0 {
		err = fmt.Errorf("control: read events %s: %d lines are no events and are left out", path, broken)
	}
	return lines, err
}

// decodeArchived decodes one line, and rejects what Keep could not have written.
func decodeArchived(line []byte) (Line, bool) {
	var e Event
	if len(line) > maxArchiveLine || json.Unmarshal(line, &e) != nil {
		return Line{}, false
	}
	if e.Type() == "" || e.Time.IsZero() || e.Seq == 0 || e.Seq > maxArchiveSeq {
		return Line{}, false
	}
	return Line{e, append(bytes.Clone(line), '\n')}, true
}

// OpenRegular opens a file with flags of os.OpenFile if it is a regular file, or makes it:
// opening a pipe would wait for its other end, and a device may do anything.
func OpenRegular(path string, flags int) (*os.File, error) {
	irregular := func(info fs.FileInfo) error {
		if info.Mode().IsRegular() {
			return nil
		}
		return fmt.Errorf("%s is not a regular file", path)
	}
	if info, err := os.Stat(path); err == nil && irregular(info) != nil {
		return nil, irregular(info)
	}
	file, err := os.OpenFile(path, flags|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = irregular(info) // replaced in between
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// Keep writes a hub's events, starting with a number, to the archive until ctx
// ends. report is called after each attempt with the reason why the events cannot
// be written, or nil; they stay in the hub meanwhile, and the write is retried.
func (a *Archive) Keep(ctx context.Context, h *Hub, from uint64, report func(error)) {
	defer a.close()
	next := from
	for {
		err := a.follow(ctx, h, &next, report)
		a.close()
		if errors.Is(err, errReplaced) {
			continue
		}
		report(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(archiveAgain):
		}
	}
}

// errReplaced: the file at the archive's path is not the one that is open, since
// somebody removed it or its folder.
var errReplaced = errors.New("control: the archive was replaced")

// replaced reports whether the open file is no longer the one at its path: what is
// written to it would be lost.
func (a *Archive) replaced() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	open, err := a.file.Stat()
	if err != nil {
		return false // the next write reports it
	}
	there, err := os.Stat(filepath.Join(a.folder, archiveFile))
	return err != nil || !os.SameFile(open, there)
}

// isEmpty reports whether nothing is archived. A file that cannot be examined counts
// as one that has something.
func (a *Archive) isEmpty() bool {
	_, err := os.Stat(filepath.Join(a.folder, archiveOld))
	return a.size == 0 && errors.Is(err, fs.ErrNotExist)
}

// follow writes events until ctx ends or one cannot be written; *next is the number
// after the last one written. An archive that is empty, since it is new or somebody
// removed it, gets all that the hub has.
func (a *Archive) follow(ctx context.Context, h *Hub, next *uint64, report func(error)) error {
	if err := a.open(); err != nil {
		return err
	}
	if a.isEmpty() {
		*next = 0
	}
	if h.Next() == *next {
		report(nil) // there is nothing to write that could fail
	}
	stop := a.syncNowAndThen()
	defer stop()
	for b := range h.Follow(ctx, *next) {
		if a.replaced() {
			return errReplaced
		}
		if b.Missed > 0 && *next > 0 {
			b.Lines = slices.Insert(b.Lines, 0, lostLine(b))
		}
		if err := a.write(b.Lines); err != nil {
			return err
		}
		*next = b.Lines[len(b.Lines)-1].Event.Seq + 1
		report(nil)
	}
	if a.replaced() {
		return errReplaced
	}
	return a.flush(0)
}

// lostLine returns a line that records that events before a batch were not written.
// Its number is that of the last of them.
func lostLine(b Batch) Line {
	return encode(Event{Time: At(time.Now()), Seq: b.Lines[0].Event.Seq - 1, Detail: DaemonDetail{
		Action: "skipped", Missed: b.Missed,
		Reason: fmt.Sprintf("%d events could not be written to %s", b.Missed, archiveFile),
	}})
}

// open opens the current file, and removes an incomplete last line.
func (a *Archive) open() error {
	path := filepath.Join(a.folder, archiveFile)
	if err := os.MkdirAll(a.folder, 0o755); err != nil {
		return fmt.Errorf("control: keep events: %w", err)
	}
	file, err := OpenRegular(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return fmt.Errorf("control: keep events: %w", err)
	}
	size, err := sizeOfLines(file)
	if err == nil {
		err = file.Truncate(size)
	}
	if err != nil {
		file.Close()
		return fmt.Errorf("control: keep events %s: %w", path, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.file, a.size = file, size
	return nil
}

// sizeOfLines returns the size of a file without an incomplete last line, which may be
// long: after a loss of power a file may end in zeros. What has no end of a line for
// longer than two archives is none.
func sizeOfLines(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil {
		return 0, err
	}
	for end := info.Size(); end > 0 && info.Size()-end < 2*MaxArchiveBytes; {
		from := max(0, end-maxArchiveLine)
		part := make([]byte, end-from)
		if _, err := io.ReadFull(io.NewSectionReader(file, from, int64(len(part))), part); err != nil {
			return 0, err
		}
		if at := bytes.LastIndexByte(part, '\n'); at >= 0 {
			return from + int64(at) + 1, nil
		}
		end = from
	}
	return 0, nil
}

// write appends lines to the file, or to a new one if there is no room for them. A
// partial write is undone.
func (a *Archive) write(lines []Line) error {
	var batch []byte
	urgent := false
	for _, l := range lines {
		batch = append(batch, l.JSON...)
		urgent = urgent || l.Event.Type() == EventSwitch
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.failed; err != nil {
		a.failed = nil
		return err
	}
	if a.size > 0 && a.size+int64(len(batch)) > MaxArchiveBytes {
		if err := a.rotate(); err != nil {
			return err
		}
	}
	n, err := a.file.Write(batch)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, a.file.Truncate(a.size))
		}
		return fmt.Errorf("control: keep events: %w", err)
	}
	a.size += int64(n)
	a.unsynced = true
	if urgent {
		return a.flushLocked(archiveSwitchSync)
	}
	return nil
}

// rotate makes the current file the predecessor, and starts a new one.
func (a *Archive) rotate() error {
	path := filepath.Join(a.folder, archiveFile)
	if err := os.Rename(path, filepath.Join(a.folder, archiveOld)); err != nil {
		return fmt.Errorf("control: keep events: %w", err)
	}
	file, err := OpenRegular(path, os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		return fmt.Errorf("control: keep events: %w", err)
	}
	a.file.Close()
	a.file, a.size = file, 0
	return nil
}

// syncNowAndThen syncs once a minute, if there is something to sync, until stop is
// called.
func (a *Archive) syncNowAndThen() (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		tick := time.NewTicker(archiveSwitchSync)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				if err := a.flush(archiveSync); err != nil {
					a.mu.Lock()
					a.failed = err // for the next write: the kernel reports it once
					a.mu.Unlock()
				}
			}
		}
	})
	return func() { close(done); ended.Wait() }
}

// flush syncs the file if something was written since the last sync and at least
// atLeast has passed since then.
func (a *Archive) flush(atLeast time.Duration) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushLocked(atLeast)
}

func (a *Archive) flushLocked(atLeast time.Duration) error {
	now := time.Now()
	if !a.unsynced || a.file == nil || now.Sub(a.synced) < atLeast {
		return nil
	}
	a.unsynced, a.synced = false, now
	if err := a.sync(a.file); err != nil {
		return fmt.Errorf("control: keep events: %w", err)
	}
	return nil
}

func (a *Archive) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.file != nil {
		a.file.Close()
		a.file = nil
	}
}
