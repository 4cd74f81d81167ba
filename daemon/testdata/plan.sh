sysctl -w net/ipv4/conf/wan0/ignore_routes_with_linkdown=1
sysctl -w net/ipv4/conf/wan0/src_valid_mark=1
sysctl -w net/ipv6/conf/wan0/ignore_routes_with_linkdown=1
sysctl -w net/ipv4/conf/wan1/ignore_routes_with_linkdown=1
sysctl -w net/ipv6/conf/wan1/ignore_routes_with_linkdown=1
ip -4 route replace default table 5301 proto 83 metric 1 via 203.0.113.1 dev wan0 onlink
ip -4 route replace default table 5302 proto 83 metric 1 via 198.51.100.1 dev wan1 onlink
ip -4 route replace default table 5364 proto 83 metric 1 via 203.0.113.1 dev wan0 onlink
ip -4 route add default table main proto 83 metric 4278243080 via 203.0.113.1 dev wan0 onlink
ip -6 route replace default table 5301 proto 83 metric 1 via 2001:db8:1::1 dev wan0 onlink
ip -6 route replace default table 5302 proto 83 metric 1 via 2001:db8:2::1 dev wan1 onlink
ip -6 route replace default table 5364 proto 83 metric 1 via 2001:db8:1::1 dev wan0 onlink
ip -6 route add default table main proto 83 metric 4278243080 via 2001:db8:1::1 dev wan0 onlink
ip -4 route replace default table 5364 proto 83 metric 2 via 198.51.100.1 dev wan1 onlink
ip -4 route add default table main proto 83 metric 4278243081 via 198.51.100.1 dev wan1 onlink
ip -6 route replace default table 5364 proto 83 metric 2 via 2001:db8:2::1 dev wan1 onlink
ip -6 route add default table main proto 83 metric 4278243081 via 2001:db8:2::1 dev wan1 onlink
# nftables: table inet swerve is missing
nft -f - <<'EOF'
add table inet swerve
delete table inet swerve
table inet swerve {
  (see package firewall)
}
EOF
ip -4 rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83
ip -4 rule add pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301 protocol 83
ip -4 rule add pref 5302 fwmark 0x02000000/0x7f000000 lookup 5302 protocol 83
ip -4 rule add pref 5364 fwmark 0x40000000/0x7f000000 lookup 5364 protocol 83
ip -4 rule add pref 5451 from 203.0.113.2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -4 rule add pref 5452 from 198.51.100.2 fwmark 0/0xffffffff lookup 5302 protocol 83
ip -4 rule add pref 5551 oif wan0 lookup 5301 protocol 83
ip -4 rule add pref 5552 oif wan1 lookup 5302 protocol 83
ip -4 rule add pref 5651 oif wan0 protocol 83 unreachable
ip -4 rule add pref 5652 oif wan1 protocol 83 unreachable
ip -4 rule add pref 32764 lookup main suppress_prefixlength 0 protocol 83
ip -4 rule add pref 32765 lookup 5364 protocol 83
ip -6 rule add pref 5300 lookup main suppress_prefixlength 1 protocol 83
ip -6 rule add pref 5301 fwmark 0x01000000/0x7f000000 lookup 5301 protocol 83
ip -6 rule add pref 5302 fwmark 0x02000000/0x7f000000 lookup 5302 protocol 83
ip -6 rule add pref 5364 fwmark 0x40000000/0x7f000000 lookup 5364 protocol 83
ip -6 rule add pref 5451 from 2001:db8:1::2 fwmark 0/0xffffffff lookup 5301 protocol 83
ip -6 rule add pref 5452 from 2001:db8:2::2 fwmark 0/0xffffffff lookup 5302 protocol 83
ip -6 rule add pref 5551 oif wan0 lookup 5301 protocol 83
ip -6 rule add pref 5552 oif wan1 lookup 5302 protocol 83
ip -6 rule add pref 5651 oif wan0 protocol 83 unreachable
ip -6 rule add pref 5652 oif wan1 protocol 83 unreachable
ip -6 rule add pref 32764 lookup main suppress_prefixlength 0 protocol 83
ip -6 rule add pref 32765 lookup 5364 protocol 83
