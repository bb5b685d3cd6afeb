"""Models, photos and checks that several tests use."""
