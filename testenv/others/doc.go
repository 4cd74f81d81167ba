// Package others holds tests beside other programs that write routes, rules, addresses
// and packet filters: Docker, firewalld, nft(8) with flush ruleset, fail2ban, wg-quick and
// tailscale, OpenVPN, strongSwan, keepalived and FRR. Each is started, reloaded and ended
// beside the daemon, and before it, under a LAN's traffic: what worked goes on, what is
// repaired is told, and nobody undoes the other's work for ever.
//
// `make test-others` runs the programs themselves, in the namespace of a lab's gateway.
// The script programs has apt download them and unpacks them into a cache folder, without
// running anything of theirs. They see that folder over the machine's root file system,
// with a /run, /sys and processes of their own, and what they write there goes with them.
// `make test` plays what needs no more than ip(8) and nft(8).
package others
