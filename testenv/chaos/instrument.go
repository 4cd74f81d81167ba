package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An instrumented daemon is the daemon with a page of memory that it shares with the
// run: from there comes what its wall clock is set forward by, and it tells there what
// only the process itself knows. The page is a file; INSTRUMENT is its path.
//
// The kernel has one wall clock, that of the machine, which is not the run's to set. So
// package time is built with another Now, by the compiler's -overlay; nothing else of
// the daemon differs.

// The words of the page, each of 64 bits.
const (
	wordJump       = iota // seconds, added to the wall clock
	wordGoroutines        // their number
	wordHeap              // bytes in use
	wordProfile           // of the heap profile that is wanted; its file is INSTRUMENT.NUMBER
)

const instrumentEnv = "SWERVE_INSTRUMENT"

// What is put in the place of a line of time.Now. Times keep their monotonic part.
const (
	clockReading = "sec, nsec, mono := runtimeNow()"
	clockJumping = clockReading + "\n\tif Jump != nil {\n\t\tsec += *Jump\n\t}"
	clockVar     = "\n\n// Jump is in seconds.\nvar Jump *int64\n"
)

// instrumentSource is a file more in the daemon's command.
const instrumentSource = `package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

func init() {
	f, err := os.OpenFile(os.Getenv("SWERVE_INSTRUMENT"), os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	page, err := syscall.Mmap(int(f.Fd()), 0, os.Getpagesize(), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	words := (*[4]int64)(unsafe.Pointer(&page[0]))
	time.Jump = &words[0]
	go func() {
		figures := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"}}
		for profiled := int64(0); ; time.Sleep(time.Second) {
			if n := atomic.LoadInt64(&words[3]); n != profiled {
				profiled = n
				path := fmt.Sprintf("%s.%d", os.Getenv("SWERVE_INSTRUMENT"), n)
				if f, err := os.Create(path + ".new"); err == nil {
					runtime.GC()
					_ = pprof.WriteHeapProfile(f)
					f.Close()
					_ = os.Rename(path+".new", path)
				}
			}
			metrics.Read(figures)
			for i, f := range figures {
				atomic.StoreInt64(&words[1+i], int64(f.Value.Uint64()))
			}
		}
	}()
}
`

// writeOverlay writes the files that an instrumented daemon is built of to a folder,
// and the list of them that go build takes as -overlay: overlay.json there. The present
// directory is the module's.
func writeOverlay(folder string) error {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	clock := filepath.Join(strings.TrimSpace(string(goroot)), "src", "time", "time.go")
	source, err := os.ReadFile(clock)
	if err != nil {
		return err
	}
	jumping, err := jumpingClock(string(source))
	if err != nil {
		return fmt.Errorf("%s: %w", clock, err)
	}
	if folder, err = filepath.Abs(folder); err != nil {
		return err
	}
	command, err := filepath.Abs("cmd/swerve/instrument.go")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	files := map[string]string{}
	for name, f := range map[string]struct{ replaces, text string }{
		"clock":   {clock, jumping},
		"command": {command, instrumentSource},
	} {
		files[f.replaces] = filepath.Join(folder, name)
		if err := os.WriteFile(files[f.replaces], []byte(f.text), 0o644); err != nil {
			return err
		}
	}
	list, err := json.Marshal(map[string]any{"Replace": files})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "overlay.json"), list, 0o644)
}

// jumpingClock returns the source of package time with a clock that can be set.
func jumpingClock(source string) (string, error) {
	if n := strings.Count(source, clockReading); n != 1 {
		return "", fmt.Errorf("%d lines read the clock as %q; want 1", n, clockReading)
	}
	return strings.Replace(source, clockReading, clockJumping, 1) + clockVar, nil
}

// instrument is the page that is shared with an instrumented daemon.
type instrument struct{ words *[512]int64 }

// newInstrument makes the page, in a file.
func newInstrument(path string) (*instrument, error) {
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return &instrument{(*[512]int64)(unsafe.Pointer(&page[0]))}, nil
}

// profile has the daemon write a profile of its heap.
func (i *instrument) profile(n int64) { atomic.StoreInt64(&i.words[wordProfile], n) }

func (i *instrument) get(word int) int64 { return atomic.LoadInt64(&i.words[word]) }

// jump sets the daemon's wall clock forward or back, as somebody does who sets the
// machine's.
func jump(s *stage, f fault) (func() error, error) {
	by, err := time.ParseDuration(f.value)
	if err != nil {
		return nil, err
	}
	set := func(by time.Duration) { atomic.StoreInt64(&s.instrument.words[wordJump], int64(by/time.Second)) }
	set(by)
	return func() error { set(0); return nil }, nil
}
