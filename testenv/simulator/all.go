package simulator

import (
	"context"
	"runtime"
	"sync"
)

// PlayAll plays n scripts concurrently, on all processors, and calls take with the
// result of each as it ends, one call at a time. It starts no more scripts after the
// first error, which it returns, or once ctx is done.
func PlayAll(ctx context.Context, n int, script func(i int) Script, o Options, take func(Stats)) (first error) {
	var lock sync.Mutex
	var wait sync.WaitGroup
	begun := 0
	begin := func() (i int, ok bool) {
		lock.Lock()
		defer lock.Unlock()
		begun++
		return begun - 1, begun <= n && first == nil && ctx.Err() == nil
	}
	end := func(s Stats, err error) {
		lock.Lock()
		defer lock.Unlock()
		take(s)
		if first == nil {
			first = err
		}
	}
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for i, ok := begin(); ok; i, ok = begin() {
				end(Play(script(i), o))
			}
		})
	}
	wait.Wait()
	return first
}
