"""The gate: an nftables table through which a claim for a VIP leaves only while this node holds it and has a permit."""
