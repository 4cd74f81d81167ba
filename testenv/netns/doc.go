// Package netns gives tests, labs and the demo network namespaces of their own,
// so that they can build routers, break links and flush rules without touching
// the machine they run on.
//
// A namespace made here has no name: no file under /run/netns, no bind mount. Only one
// thread of this process, a file descriptor, and the sockets and processes inside
// refer to it, so the kernel removes it with everything in it (links, routes, rules,
// nft tables) when this process ends, however it ends: at Close, at a failed test, at
// a panic, at SIGKILL.
//
// # How to use it
//
// In a test:
//
//	ns := netns.New(t)                      // lo is up; gone when the test ends
//	out, err := ns.Run("ip", "-4", "rule")  // a witness
//	err = ns.Do(func() error {              // code under test, inside
//		h, err = netlink.NewHandle()
//		return err
//	})
//
// Elsewhere: Open and Close.
//
// # What belongs to a namespace
//
// The kernel decides by the calling *thread* where a socket is made, where a
// child process starts, and which /proc/sys/net is visible. Every namespace has a
// worker goroutine locked to its own thread for that; Do runs a function there. A
// socket stays in its namespace, so any goroutine may use it afterwards.
// A goroutine that the function starts runs on other threads, so outside: open
// sockets in Do, use them anywhere.
//
// /proc/net is the view of the process, not of the thread: read
// /proc/thread-self/net. /sys/class/net shows the namespace that mounted /sys,
// so the machine's own links: ask netlink instead.
//
// # Initial state
//
// New namespaces inherit some IPv4 settings from the machine. To make them equal
// everywhere, forwarding and rp_filter are off. IPv6 duplicate address detection is
// off too: no other host can have the address, and waiting for it takes seconds. lo is
// up. The rest is as the kernel makes it.
package netns
