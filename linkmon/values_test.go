package linkmon

import "net/netip"

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// unusedPort is where nobody listens at an address.
func unusedPort(to string) netip.AddrPort { return netip.AddrPortFrom(addr(to), 9) }

// notOwn is for probers on a machine without addresses of its own.
func notOwn(netip.Addr) bool { return false }
