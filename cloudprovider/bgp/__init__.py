"""What BGPPeers and BGPAdvertisements say of themselves: sessions there should be and are, and what goes to whom."""
