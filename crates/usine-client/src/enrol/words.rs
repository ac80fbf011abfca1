//! Words that are short, plain, and hard to take for one another.

/// A power of two of them, so that a random byte chooses evenly.
pub(super) const WORDS: [&str; 128] = [
    "acorn", "amber", "anchor", "apple", "april", "autumn", "badger", "bakery", "bamboo", "banjo", "barrel", "basket",
    "beacon", "bicycle", "blanket", "bottle", "bridge", "bucket", "button", "cabin", "cactus", "camera", "candle",
    "canyon", "carpet", "castle", "cherry", "chimney", "circle", "clover", "cobalt", "compass", "copper", "cotton",
    "cradle", "crystal", "dolphin", "donkey", "dragon", "dream", "eagle", "echo", "eleven", "engine", "falcon",
    "feather", "fiddle", "flute", "forest", "fountain", "galaxy", "garden", "ginger", "glacier", "guitar", "hammer",
    "harbour", "hazel", "helmet", "hollow", "honey", "igloo", "island", "ivory", "jacket", "jasmine", "jigsaw",
    "kettle", "kitten", "ladder", "lantern", "lemon", "lizard", "magnet", "maple", "marble", "meadow", "melon",
    "mirror", "monsoon", "mosaic", "napkin", "nutmeg", "oasis", "olive", "orbit", "otter", "oyster", "paddle",
    "parrot", "pebble", "pepper", "piano", "pillow", "planet", "pocket", "pumpkin", "quartz", "quiver", "rabbit",
    "rainbow", "raven", "ribbon", "rocket", "saddle", "salmon", "sandal", "shovel", "silver", "spiral", "summit",
    "tablet", "teapot", "thimble", "thunder", "tiger", "timber", "tulip", "tunnel", "umbrella", "valley", "velvet",
    "violin", "walnut", "whistle", "willow", "window", "zebra",
];
