"""Play a dream: a person at the keys, a policy at the wheel, dream and real world side by side.

The session knows nothing of windows and keys, and serves any front end; the window draws it with pygame.

    keys       keys and controllers -> actions
    clock      which steps are due
    worlds     a dream and its real twin, stepped and shown alike
    line       one course of events: a world, what it earned, what can be rewound
    session    what a player can do
    trail      the episode being played, as data; keeper writes it
    layout, scene, widgets             what is seen
    bindings, pads, window, play       what a player does
    watch      a policy in a grid of dreams
"""
