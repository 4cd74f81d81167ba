// Package tui is the dashboard: one live page about a running daemon, on a
// terminal. It is an ordinary client of package control, needs no privilege but the
// right to open the socket, and outlives the daemon that it shows.
//
// # How it works
//
// [Run] starts a Bubble Tea program around one [tea.Model]. What comes from outside
// are messages: keys, the terminal's size, the clock, and what the daemon said.
// Update takes them one by one and changes the model; View turns the model into
// text. Work that waits for the daemon or the clock is done in commands, all of
// them in backend.go, and all of them over when Run returns.
//
// The page is a pure function of a [Snapshot] (what is known, and since when), of
// the view (what the user set: focus, scrolling, span of the trends), the terminal's
// size and the time. So a test compares it with a file, to the character.
//
// # What a reader can rely on
//
// Every text from the daemon passes through clean in text.go before it is measured
// or drawn: a name or a reason that steers terminals reaches none. Everything that
// is kept is bounded: events, samples, the daemon's generations. What is not
// measured is "-", never 0. Colour repeats what a word or a mark says already.
//
// # Where to look
//
//   - run.go, model.go, keys.go, scroll.go: start and end, messages, keys
//   - backend.go: all that waits for the daemon and the clock
//   - snapshot.go, journal.go, trend.go: what is known, the events, the samples
//   - page.go, layout.go: the whole page, and who gets how many lines
//   - head.go, uplinks.go, crowd.go, problems.go, policies.go, events.go, help.go,
//     offline.go: its parts
//   - line.go, table.go, text.go, units.go, theme.go: lines, columns, words, looks
//   - quiet: keeps a library from questioning the terminal when any command starts
package tui
